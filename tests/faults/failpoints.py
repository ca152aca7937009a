"""Lines at which a process dies, once, when a file of that name is there.

What the file says is done: `kill` (SIGKILL of that very process) or `raise` (an error as of a store that is gone).
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import StoreUnavailable

FOLDER = "FAILPOINTS"
"""Environment variable: where the files are."""

KILL, RAISE = "kill", "raise"


def arm(folder: Path, points: Mapping[str, str]) -> None:
    """Set failpoints: name -> KILL or RAISE."""
    for point, how in points.items():
        (folder / point).write_text(how)


def unreached(folder: Path) -> list[str]:
    """The failpoints that are still set."""
    return sorted(file.name for file in folder.iterdir())


def strike(point: str) -> None:
    """Fail here if this failpoint is set. Of several processes one takes the file, and nobody finds it again."""
    file = Path(os.environ[FOLDER], point)
    try:
        how = file.read_text()
        file.unlink()
    except FileNotFoundError:
        return
    if how == KILL:
        os.kill(os.getpid(), signal.SIGKILL)
    raise StoreUnavailable(f"failpoint {point}")


def before(owner: Any, name: str, point: str, when: Callable[..., bool] = lambda *_, **__: True) -> None:
    """Put a failpoint in front of a function or method; it counts only for calls that `when` is true of."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def struck(*args: Any, **kwargs: Any) -> Any:
        if when(*args, **kwargs):
            strike(point)
        return original(*args, **kwargs)

    setattr(owner, name, struck)


def after(owner: Any, name: str, point: str) -> None:
    """Put a failpoint behind a function or method."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def struck(*args: Any, **kwargs: Any) -> Any:
        answer = original(*args, **kwargs)
        strike(point)
        return answer

    setattr(owner, name, struck)
