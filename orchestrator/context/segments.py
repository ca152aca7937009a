"""Large values, as the processes of one host pass them to each other: by shared memory, beside the store.

Whoever commits a text of LEAST bytes or more also leaves it in a segment, named by its run and the hash of its
content. Whoever reads on the same host tells the store which hashes it has here, and is told a hash (a claim check)
where it would have got the value. The store keeps all values: a segment that is gone, damaged or not ours is a value
to be fetched.

A segment is a file of /dev/shm, which is what `multiprocessing.shared_memory` opens as well. That module is not used:
up to Python 3.12 it gives every segment that a process has opened to a resource tracker, which unlinks it with that
process (bpo-38119); and writing through a mapping when /dev/shm is full ends the process (SIGBUS), where `write` fails.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from msgspec import Struct

MEMORY = Path("/dev/shm")  # noqa: S108 - not a temporary file: where the kernel has shared memory
LEAST = 1_000_000
"""Bytes from which on leaving a value here and taking it again costs less than fetching it (`orchestrator bench
memory`)."""
LEASE = 60.0
"""Seconds after its last use for which a segment is kept."""
_CHECKSUM = 4


class Segments(Struct, frozen=True):
    """The segments of this user on this host, at most `limit` bytes of them; what was used longest ago goes first. All
    of it is best effort, and nothing raises."""

    limit: int
    lease: float = LEASE
    least: int = LEAST
    folder: Path = MEMORY / f"orchestrator-{os.getuid()}"

    def held(self, run_id: str) -> list[str]:
        """The hashes of the values of a run that are here."""
        try:
            names = os.listdir(self.folder / run_id)
        except OSError:
            return []
        return [name for name in names if "." not in name] if self._is_ours() else []

    def get(self, run_id: str, content_hash: str) -> str | None:
        """The text, None when it is not here any more; a damaged one is gone then."""
        path = self.folder / run_id / content_hash
        try:
            return _read(path)
        except (OSError, ValueError):
            with suppress(OSError):
                path.unlink()
            return None

    def put(self, run_id: str, values: Iterable[tuple[str, str | None]]) -> None:
        """Leave those of the values, each its hash and text, that are large enough and not here yet."""
        for content_hash, text in values:
            if text is not None and len(text) >= self.least and not (self.folder / run_id / content_hash).exists():
                data = text.encode()
                if len(data) + _CHECKSUM <= self.limit:
                    with suppress(OSError):  # no such memory, full, or a sweep has just taken the empty folder away
                        self._keep(self.folder / run_id, content_hash, data)

    def touch(self, run_id: str, content_hash: str) -> None:
        """Somebody will use it soon: its lease begins anew."""
        with suppress(OSError):
            os.utime(self.folder / run_id / content_hash)

    def drop(self, run_id: str) -> None:
        """A run has ended: nobody will read its values for long."""
        with suppress(OSError):
            for path in (self.folder / run_id).iterdir():
                path.unlink()
            (self.folder / run_id).rmdir()
            self.folder.rmdir()

    def sweep(self) -> int:
        """Unlink what was not used for a lease, whoever has left it; how many that were."""
        if not self.folder.exists() or not self._is_ours():
            return 0
        gone, since = 0, time.time() - self.lease
        for _, path, stat in sorted(self._all()):
            if stat.st_mtime <= since:
                gone += 1
                with suppress(OSError):
                    path.unlink()
        for empty in (*self._runs(), self.folder):
            with suppress(OSError):  # there is something in it
                empty.rmdir()
        return gone

    def _keep(self, run: Path, name: str, data: bytes) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if not self._is_ours():
            return
        run.mkdir(mode=0o700, exist_ok=True)
        path = run / f"{name}.{token_hex(4)}"
        with self._locked():  # until its bytes are counted
            self._make_room(len(data) + _CHECKSUM)
            file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, len(data) + _CHECKSUM)
            except OSError:
                os.close(file)
                path.unlink()
                raise
        try:
            _write(file, zlib.crc32(data).to_bytes(_CHECKSUM, "big"), data)
        finally:
            os.close(file)
        with self._locked():  # whoever counts must not miss it between its two names
            path.rename(run / name)

    def _make_room(self, size: int) -> None:
        segments = sorted(self._all())
        taken = sum(stat.st_size for _, _, stat in segments)
        for _, path, stat in segments:
            if taken + size <= self.limit:
                return
            path.unlink(missing_ok=True)
            taken -= stat.st_size

    def _runs(self) -> Iterator[Path]:
        with suppress(OSError), os.scandir(self.folder) as found:
            yield from (Path(one.path) for one in found)

    def _all(self) -> Iterator[tuple[int, Path, os.stat_result]]:
        """Every segment with the time of its last use, those that are being written included."""
        for run in self._runs():
            with suppress(OSError), os.scandir(run) as found:
                for one in found:
                    with suppress(OSError):
                        stat = one.stat(follow_symlinks=False)
                        yield stat.st_mtime_ns, Path(one.path), stat

    def _is_ours(self) -> bool:
        """Everybody can write to /dev/shm, and nobody into a folder there that we have made."""
        try:
            stat = os.lstat(self.folder)
        except OSError:
            return False
        return stat.st_uid == os.getuid() and not stat.st_mode & 0o22

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time on this host; the kernel takes the lock from whoever dies."""
        file = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)


def _read(path: Path) -> str:
    """The text, whose lease begins anew. Raises ValueError for what is damaged or empty."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with (
            mmap.mmap(file, 0, mmap.MAP_SHARED | mmap.MAP_POPULATE, mmap.PROT_READ) as whole,
            memoryview(whole) as view,
            view[_CHECKSUM:] as body,
        ):
            if zlib.crc32(body) != int.from_bytes(view[:_CHECKSUM], "big"):
                raise ValueError("its checksum is another one")
            os.utime(file)
            return str(body, "utf-8")
    finally:
        os.close(file)


def _write(file: int, *parts: bytes) -> None:
    for part in parts:
        left = memoryview(part)
        while left:
            left = left[os.write(file, left) :]
