"""Near misses: what a user may have meant by a word nobody knows."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, None when none is near."""
    matches = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ "; did you mean 'claim'?" or nothing."""
    match = closest(word, known)
    return "" if match is None else f"; did you mean {match!r}?"
