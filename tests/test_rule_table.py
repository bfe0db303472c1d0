"""docs/rules.md is what the tests' marks say, and no rule is without a test or a reason."""

from __future__ import annotations

from tests.rule_table import PAGE, marks, page, titles, untested


def test_the_page_is_fresh() -> None:
    """The committed page equals the one made from the marks."""
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.rule_table"


def test_every_rule_has_a_test_or_a_reason() -> None:
    """No rule on claims, allocation, tmem and sharing is left out, and no reason is out of date."""
    found, reasons = marks(), untested()
    assert [rule for rule in titles() if rule not in found and rule not in reasons] == []
    assert [rule for rule in reasons if rule in found] == []
    assert set(reasons) <= set(titles())
