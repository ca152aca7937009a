"""Child processes that cannot outlive the process that needs them (Linux; elsewhere best effort)."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(signum: int = signal.SIGKILL, parent: int | None = None) -> None:
    """Ask the kernel to send `signum` to this process when its parent dies. Usable as a `preexec_fn`. With the pid of
    its `parent` given, end at once if that has died before the kernel was asked: nobody would ever end us."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def run_tied(
    command: Sequence[str],
    *,
    timeout: float,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    input_text: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process group of its own, end the whole group at `timeout` (seconds) or on any error.

    Output is captured as text. Raises subprocess.TimeoutExpired and OSError as `subprocess.run` does.
    """
    with subprocess.Popen(  # noqa: S603 - callers pass an argument list, no shell is involved
        list(command),
        cwd=cwd,
        env=dict(env) if env is not None else None,
        stdin=subprocess.PIPE if input_text is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - one prepared prctl call, safe between fork and exec
    ) as process:
        try:
            out, err = process.communicate(input_text, timeout=timeout)
        except BaseException:
            kill_group(process.pid)
            process.wait()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def kill_group(pid: int, signum: int = signal.SIGKILL) -> None:
    """Send a signal to the process group that `pid` leads; a group that is gone is no error."""
    try:
        os.killpg(pid, signum)
    except (ProcessLookupError, PermissionError):
        return


def is_running(pid: int) -> bool:
    """Whether a process of that id exists and is more than an entry that its parent has not collected yet."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return b") Z" not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return sys.platform != "linux"
