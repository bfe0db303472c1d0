"""The generated pages (ABI, tables of the protocol, scenario) say what the declarations say."""

from pathlib import Path

from launch.reference.abi import PAGE, PROTOCOL, abi_page, protocol_page
from launch.reference.scenario import PAGE as SCENARIO
from launch.reference.scenario import scenario_page

ROOT = Path(__file__).resolve().parents[2]


def test_the_abi_page_is_fresh() -> None:
    """The committed page equals the one generated from hypervisor/public."""
    assert (ROOT / PAGE).read_text(encoding="utf-8") == abi_page(), "run: python -m launch.reference.abi"


def test_the_tables_of_the_protocol_are_fresh() -> None:
    """The committed tables of messages equal those generated from hypervisor/public."""
    text = (ROOT / PROTOCOL).read_text(encoding="utf-8")
    assert "| Enlist | 'enlist' | name, secret, pid? |" in text
    assert text == protocol_page(text), "run: python -m launch.reference.abi"


def test_the_scenario_page_is_fresh() -> None:
    """The committed page equals the one generated from the models."""
    assert (ROOT / SCENARIO).read_text(encoding="utf-8") == scenario_page(), (
        "run: python -m launch.reference.scenario"
    )


def test_every_field_has_a_type_in_the_page() -> None:
    """No field of a message is listed without its type."""
    rows = [line for line in abi_page().splitlines() if line.startswith("| ") and line.count(" | ") == 3]
    assert rows
    untyped = [row for row in rows if row.split(" | ")[1] == ""]
    assert not untyped
