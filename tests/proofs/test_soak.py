"""Half a minute of faults; `make soak` goes on for longer."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.proofs.soak import soak


@pytest.mark.proofs
@pytest.mark.timeout(300)
def test_the_books_balance_whatever_breaks(tmp_path: Path) -> None:
    seed = secrets.randbelow(1 << 24)
    print(soak(30, seed, tmp_path))
