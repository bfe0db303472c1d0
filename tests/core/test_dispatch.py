"""Every request finds the function that carries it out."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from hypervisor.core.steps import Caller, Step
from hypervisor.public.requests import Request
from tests.core.small_host import SmallHost


@pytest.mark.parametrize("kind", get_args(Request), ids=lambda kind: kind.__name__)
def test_every_request_has_a_handler_of_its_own_kind(kind: type[Request]) -> None:
    """Each class of `Request` begins as a sequence of steps; none of them ends in assert_never."""
    blank = {"domid": 7, "path": "/local", "token": "t", "value": "", "oid": (0, 0, 0)}
    request = msgspec.convert(_minimal(kind, blank), kind)
    operation = SmallHost(tmem=True).machine.submit(Caller(0, 0), request)
    assert isinstance(operation.pending, Step)


def _minimal(kind: type[Request], known: dict[str, object]) -> list[object]:
    """A request's wire form with every field that has no default filled in."""
    content: list[object] = [kind.__struct_config__.tag]
    for field in msgspec.structs.fields(kind):
        if not field.required:
            break
        default: object = False if field.type is bool else () if "tuple" in str(field.type) else 0
        content.append(known.get(field.name, default))
    return content
