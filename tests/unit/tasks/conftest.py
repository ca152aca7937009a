"""Both briefs that ship, run through all six agents once."""

from __future__ import annotations

import pytest

from tests.unit.tasks.running import Outcome, shipped


@pytest.fixture(params=["housing_repairs", "grain_settlement"])
def run(request: pytest.FixtureRequest) -> Outcome:
    """All six agents on a brief that ships."""
    return shipped(request.param)


@pytest.fixture
def housing() -> Outcome:
    return shipped("housing_repairs")


@pytest.fixture
def grain() -> Outcome:
    return shipped("grain_settlement")
