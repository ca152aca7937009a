"""What counts as worse: a step that stays, and no noise, however wild a single night is."""

from __future__ import annotations

import math
import random

import pytest

from orchestrator.bench.policy import CONFIRMED, LEAST, Regression, Series, decide

NIGHTS = 400


def series(*figures: float, better: str = "lower") -> Series:
    return Series.model_validate({"measure": "m", "unit": "ms", "better": better, "figures": figures})


def noise(seed: int, count: int, *, usual: float = 30.0) -> list[float]:
    """Nights of a machine that others use, too: five percent of spread, and every twelfth night far off."""
    chance = random.Random(seed)
    return [
        usual * math.exp(chance.gauss(0, 0.05)) * (chance.uniform(1.5, 4) if chance.random() < 1 / 12 else 1.0)
        for _ in range(count)
    ]


def alarms(figures: list[float], better: str = "lower") -> list[int]:
    """The nights on which somebody is woken."""
    return [night for night in range(1, len(figures) + 1) if decide(series(*figures[:night], better=better))]


@pytest.mark.parametrize("seed", range(5))
def test_noise_wakes_nobody(seed: int) -> None:
    """Two wild nights in a row are one in 144; those the rule cannot tell from a change."""
    figures = noise(seed, NIGHTS)
    wild = [figure > 30 * 1.3 for figure in figures]
    assert all(wild[night - 1] and wild[night - 2] for night in alarms(figures))
    calm = [figure for figure, is_wild in zip(figures, wild, strict=True) if not is_wild]
    assert alarms(calm) == []


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("better", "factor"), [("lower", 1.35), ("higher", 0.65)])
def test_a_step_that_stays_is_told_on_the_second_night(seed: int, better: str, factor: float) -> None:
    chance = random.Random(seed)
    before = [30 * math.exp(chance.gauss(0, 0.05)) for _ in range(30)]
    after = [30 * factor * math.exp(chance.gauss(0, 0.02)) for _ in range(3)]
    assert alarms(before + after, better)[0] == len(before) + CONFIRMED


def test_what_becomes_better_is_no_regression() -> None:
    assert alarms([30.0] * 10 + [15.0] * 5) == []
    assert alarms([30.0] * 10 + [60.0] * 5, better="higher") == []


def test_little_is_said_of_few_nights_or_of_small_changes() -> None:
    assert decide(series(*[10.0] * (LEAST - 1), *[99.0] * CONFIRMED)) is None
    assert decide(series(*[10.0] * LEAST, *[99.0] * CONFIRMED)) is not None
    assert decide(series(*[10.0] * LEAST, *[10.9] * CONFIRMED)) is None, "less than a tenth"


def test_it_says_what_was_usual() -> None:
    found = decide(series(*[10.0] * 9, 14.0, 15.0))
    assert found == Regression(measure="m", unit="ms", usual=10, now=15, limit=11)
    assert found.sentence == "m: 15 ms, usually 10 (50% worse)"
