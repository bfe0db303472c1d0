"""Zipf's law: of n things, the k-th most popular is asked for 1/k^s as often as the first."""

from bisect import bisect_right
from itertools import accumulate
from random import Random


class Zipf:
    """Draws ranks 0..n-1; exponent 0 makes them equally likely."""

    def __init__(self, n: int, exponent: float) -> None:
        if n < 1 or exponent < 0:
            raise ValueError(f"zipf: n {n}, exponent {exponent}: need n >= 1, exponent >= 0")
        self._cumulative = list(accumulate(1.0 / rank**exponent for rank in range(1, n + 1)))

    def draw(self, rng: Random) -> int:
        """One rank; 0 is the most popular."""
        # A product may round up to the last sum itself.
        wanted = rng.random() * self._cumulative[-1]
        return min(bisect_right(self._cumulative, wanted), len(self._cumulative) - 1)
