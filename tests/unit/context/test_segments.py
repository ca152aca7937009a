"""Large values in shared memory: whole or not at all, bounded in bytes, leased, and nothing is left of whoever dies."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from orchestrator.context.segments import LEASE, MEMORY, Segments
from tests.workers import ROOT

pytestmark = pytest.mark.skipif(not MEMORY.is_dir(), reason="this system has no /dev/shm")
TEXT = "Grüße ✓" * 20


@pytest.fixture
def here(tmp_path: Path) -> Segments:
    return Segments(1000, least=10, folder=tmp_path / "shared")


def taken(here: Segments) -> int:
    """Bytes of all segments; one that is renamed meanwhile counts once."""
    sizes = {}
    with here._locked():
        for path in here.folder.rglob("*"):
            with suppress(FileNotFoundError):
                found = path.stat()
                sizes[found.st_ino] = found.st_size if path.is_file() else 0
    return sum(sizes.values())


def age(here: Segments, run: str, name: str, seconds: float) -> None:
    at = time.time() - seconds
    os.utime(here.folder / run / name, (at, at))


def test_a_value_is_handed_on_as_it_is_if_it_is_large_enough(here: Segments) -> None:
    here.put("run", [("large", TEXT), ("exact", "x" * 10), ("small", "x" * 9), ("none", None)])
    assert sorted(here.held("run")) == ["exact", "large"]
    assert (here.get("run", "large"), here.get("run", "exact"), here.get("run", "small")) == (TEXT, "x" * 10, None)
    assert (here.held("other"), here.get("other", "large")) == ([], None)
    here.drop("run")
    assert not here.folder.exists(), "the last run takes the folder along"


def test_there_are_never_more_bytes_than_allowed_and_the_longest_unused_goes_first(here: Segments) -> None:
    for name in "abcd":
        here.put("run", [(name, name * 246)])
        age(here, "run", name, 10 * (ord("e") - ord(name)))
    assert taken(here) == 1000
    assert here.get("run", "a") == "a" * 246, "used just now"
    here.put("other", [("e", "e" * 400)])
    assert (sorted(here.held("run")), here.held("other")) == (["a", "d"], ["e"])
    here.put("other", [("f", "f" * 997)])
    assert here.held("other") == ["e"], "too large for all of it, so nothing had to go"
    here.put("other", [("f", "f" * 996)])
    assert (here.held("run"), here.held("other"), taken(here)) == ([], ["f"], 1000)


def test_many_at_once_stay_within_the_bound_together(here: Segments) -> None:
    def put(number: int) -> int:
        here.put(f"run{number % 3}", [(f"value{number}", chr(97 + number % 26) * 190)])
        return taken(here)

    with ThreadPoolExecutor(8) as threads:
        assert max(threads.map(put, range(200))) <= 1000
    left = [(run, name) for run in ("run0", "run1", "run2") for name in here.held(run)]
    assert all(set(here.get(run, name) or "") == {chr(97 + int(name[5:]) % 26)} for run, name in left)
    assert len(left) == 5, "as many as there is room for"


@pytest.mark.parametrize("at", [0, 3, 4, 100, None])
def test_a_damaged_one_is_not_there_and_gone(here: Segments, at: int | None) -> None:
    here.put("run", [("value", TEXT)])
    path = here.folder / "run" / "value"
    data = bytearray(path.read_bytes())
    if at is None:
        data.clear()
    else:
        data[at] ^= 1
    path.write_bytes(data)
    assert here.get("run", "value") is None
    assert here.held("run") == []
    here.put("run", [("value", TEXT)])
    assert here.get("run", "value") == TEXT


def test_whatever_was_not_used_for_a_lease_is_swept(here: Segments) -> None:
    here.put("old", [("a", TEXT), ("b", TEXT)])
    here.put("new", [("c", TEXT)])
    for run, name in (("old", "a"), ("old", "b"), ("new", "c")):
        age(here, run, name, LEASE + 1)
    assert here.get("new", "c") == TEXT, "its lease begins anew"
    assert here.sweep() == 2
    assert (os.listdir(here.folder), here.held("new")) == (["new"], ["c"])
    age(here, "new", "c", LEASE + 1)
    assert here.sweep() == 1
    assert not here.folder.exists()
    assert here.sweep() == 0


KILLED = """
import os, signal, sys
from pathlib import Path
from orchestrator.context import segments
here = segments.Segments(1000, least=10, folder=Path(sys.argv[1]))
here.put("run", [("whole", "x" * 100)])
segments._write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
here.put("run", [("half", "x" * 100)])
"""


def test_nothing_is_left_of_a_process_that_is_killed_while_it_writes(here: Segments) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(here.folder)], cwd=ROOT, check=False)
    assert done.returncode == -9
    assert (here.held("run"), taken(here)) == (["whole"], 208), "what is not whole is not there, but counted"
    here.put("run", [("half", "y" * 100)])
    assert here.get("run", "half") == "y" * 100, "nor does it hold up anybody"
    assert Segments(1000, lease=0.0, folder=here.folder).sweep() == 3
    assert not here.folder.exists()


def test_full_memory_and_a_folder_of_somebody_else_are_no_error(
    here: Segments, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        here.put("run", [("value", TEXT)])
    assert taken(here) == 0
    here.put("run", [("value", TEXT)])
    here.folder.chmod(0o777)
    assert here.held("run") == [], "anybody could have put it there"
    here.put("run", [("more", TEXT)])
    assert os.listdir(here.folder / "run") == ["value"]
    nowhere = Segments(1000, least=10, folder=tmp_path / "no" / "such")
    nowhere.put("run", [("value", TEXT)])
    assert (nowhere.held("run"), nowhere.sweep()) == ([], 0)
