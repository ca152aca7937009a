"""The one place where an error becomes a message and an exit status."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NoReturn

import click

from orchestrator.cli.output import close_stdout, complain, session
from orchestrator.cli.root import root
from orchestrator.errors import BackpressureError, InvalidDocument, OrchestratorError, StoreUnavailable

OK, FAILED, USAGE = 0, 1, 2
UNAVAILABLE, BACKPRESSURE, TIMEOUT = 69, 75, 124
INTERRUPTED, TERMINATED = 130, 143

_UNREACHABLE = {"ConnectionError", "TimeoutError", "OperationalError", "BusyLoadingError", "AuthenticationError"}


class Terminated(KeyboardInterrupt):
    """SIGTERM: everything is undone as for Ctrl-C, only the exit status differs."""


def run_command(arguments: Sequence[str] | None) -> int:
    """Run the command line and turn whatever comes out of it into an exit status."""
    session.quiet = session.debug = False
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        status = root.main(given, prog_name="orchestrator", standalone_mode=False)
        return status if isinstance(status, int) else OK
    except BaseException as error:  # noqa: BLE001 - the outermost frame: what leaves it is a traceback
        return _status_of(error)
    finally:
        signal.signal(signal.SIGTERM, previous)
        close_stdout()


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _status_of(error: BaseException) -> int:
    if session.debug and not isinstance(error, click.exceptions.Exit | click.ClickException | click.Abort):
        traceback.print_exception(error)
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case click.ClickException():
            error.show()
            return error.exit_code
        case KeyboardInterrupt() | click.Abort():  # click turns the first into the second
            return TERMINATED if isinstance(error.__cause__ or error, Terminated) else INTERRUPTED
        case SystemExit():
            return error.code if isinstance(error.code, int) else FAILED
        case BrokenPipeError():
            return OK
    known = translated(error)
    for line in _lines(known, error):
        complain(line)
    return known.exit_code if known is not None else FAILED


def translated(error: BaseException) -> OrchestratorError | None:
    """Our own error, or ours for what Redis and Celery raise; None for anything unexpected."""
    if isinstance(error, OrchestratorError):
        return error
    package, name = type(error).__module__.partition(".")[0], type(error).__name__
    if package in ("redis", "kombu", "celery") and name == "OutOfMemoryError":
        return BackpressureError("Redis is out of memory and takes no writes")
    if package in ("redis", "kombu") and name in _UNREACHABLE:
        return StoreUnavailable(f"Redis cannot be reached: {error}")
    return None


def _lines(known: OrchestratorError | None, error: BaseException) -> Iterator[str]:
    if known is None:
        text = str(error) or "no message"
        yield f"unexpected {type(error).__name__}: {text.splitlines()[0]} (--debug shows where)"
    elif isinstance(known, InvalidDocument):
        yield from (str(problem) for problem in known.problems)
    else:
        yield " ".join(str(known).split())
