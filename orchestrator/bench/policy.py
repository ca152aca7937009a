"""Whether a figure has become worse for good: by its median and its spread, which single bad nights do not move."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Literal

from orchestrator.fields import Frozen

CONFIRMED = 2
"""So many of the newest figures have to be worse: one may be a busy night's."""

LEAST, MOST = 8, 30
"""How many figures before them are needed, and how many count."""

SPREADS = 5.0
"""How many robust standard deviations away from the median is worse. The median of the absolute deviations times 1.4826
estimates the standard deviation of a normal distribution (Rousseeuw and Croux 1993, section 1)."""

SHARE = 0.1
"""How much worse than the median a figure has to be at least, however little the others spread."""


class Series(Frozen):
    """One measure's figures on one machine, the oldest first."""

    measure: str
    unit: str
    better: Literal["lower", "higher"]
    figures: tuple[float, ...]


class Regression(Frozen):
    """A figure that has become worse: what it was usually, what it is, and the limit between them."""

    measure: str
    unit: str
    usual: float
    now: float
    limit: float

    @property
    def sentence(self) -> str:
        """For people."""
        change = abs(self.now - self.usual) / abs(self.usual)
        return f"{self.measure}: {self.now:.3g} {self.unit}, usually {self.usual:.3g} ({change:.0%} worse)"


def decide(series: Series) -> Regression | None:
    """Compare the newest figures with those before them; None: nothing can be said, or nothing is wrong."""
    newest, before = series.figures[-CONFIRMED:], series.figures[:-CONFIRMED][-MOST:]
    if len(before) < LEAST:
        return None
    usual = median(before)
    margin = max(SPREADS * 1.4826 * _deviation(before, usual), SHARE * abs(usual))
    sign = 1 if series.better == "lower" else -1
    limit = usual + sign * margin
    if any(sign * figure <= sign * limit for figure in newest):
        return None
    return Regression(measure=series.measure, unit=series.unit, usual=usual, now=newest[-1], limit=limit)


def _deviation(figures: Sequence[float], middle: float) -> float:
    return median(abs(figure - middle) for figure in figures)
