"""Whether the schemes of a scenario can be had, before anything is started."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from launch.cluster.host_plan import Plugins
from launch.scenario.at_once import schemes_at_once
from launch.scenario.complaints import Fault
from launch.scenario.load import Loaded
from launch.scenario.world import check_schemes
from toolstack.registry import SchemeError, known_schemes, make_scheme, objection, scheme_class

NO_PLUGINS: Final = Plugins()


def check_plugins(loaded: Loaded, plugins: Plugins, elsewhere: Collection[str]) -> None:
    """ScenarioError for a scheme nobody offers, that the release cannot carry, or with wrong parameters.

    `elsewhere` are schemes that are no classes of ours, and judged by whoever runs them.
    """
    scenario = loaded.scenario
    check_schemes(loaded, (*known_schemes(), *elsewhere, *plugins.schemes), _objection)
    for scheme in dict.fromkeys(one for entry in scenario.schemes for one in schemes_at_once(entry)):
        if scheme in elsewhere or scheme in plugins.schemes:
            continue
        try:
            made = make_scheme(scheme, scenario.scheme.get(scheme, {}))
        except SchemeError as error:
            raise loaded.error(Fault(("scheme", scheme), str(error))) from error
        reason = objection(made, scenario.release)
        if reason is not None:
            fault = f'release {scenario.release} cannot carry "{scheme}" with these parameters: {reason}'
            raise loaded.error(Fault(("scheme", scheme), fault))


def _objection(scheme: str, release: str) -> str | None:
    try:
        return objection(scheme_class(scheme), release)
    except SchemeError:
        return None  # make_scheme says it better
