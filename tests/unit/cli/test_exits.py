"""Errors become one line and a status; there is a traceback only when it is asked for."""

from __future__ import annotations

import signal
from collections.abc import Callable

import click
import kombu.exceptions
import pytest
import redis.exceptions

from orchestrator import errors
from orchestrator.cli import exits, main
from orchestrator.cli.interrupts import held_back, noticed
from orchestrator.cli.output import session
from orchestrator.cli.root import root


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object], str], int]:
    """Runs `orchestrator act` with any function as the command's body."""

    def run(act: Callable[[], object], *flags: str) -> int:
        @click.command()
        @click.option("--debug", is_flag=True)
        def body(debug: bool) -> object:
            session.debug = debug
            return act()

        monkeypatch.setattr(type(root), "get_command", lambda *_: body)
        return main(["run", *flags])

    return run


PROBLEMS = (errors.Problem("steps[0].timeout", "wrong", "write 10m", 3, 7, "w.yaml"), errors.Problem("name", "missing"))


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (errors.RunFailed("it failed"), 1, "error: it failed\n"),
        (
            errors.InvalidWorkflow(PROBLEMS),
            3,
            "error: w.yaml:3:7: steps[0].timeout: wrong (write 10m)\nerror: name: missing\n",
        ),
        (errors.SettingsError(PROBLEMS[1:]), 2, "error: name: missing\n"),
        (errors.NotFound("no such run"), 4, "error: no such run\n"),
        (errors.StoreUnavailable("gone\n  for lunch"), 69, "error: gone for lunch\n"),
        (errors.BackpressureError("full"), 75, "error: full\n"),
        (errors.WaitTimeout("too long"), 124, "error: too long\n"),
        (redis.exceptions.ConnectionError("refused"), 69, "error: Redis cannot be reached: refused\n"),
        (redis.exceptions.TimeoutError("slow"), 69, "error: Redis cannot be reached: slow\n"),
        (redis.exceptions.OutOfMemoryError("OOM"), 75, "error: Redis is out of memory and takes no writes\n"),
        (kombu.exceptions.OperationalError("refused"), 69, "error: Redis cannot be reached: refused\n"),
        (KeyError("x"), 1, "error: unexpected KeyError: 'x' (--debug shows where)\n"),
        (click.UsageError("odd"), 2, "Error: odd\n"),
        (BrokenPipeError(), 0, ""),
        (SystemExit(5), 5, ""),
    ],
)
def test_each_error_has_its_lines_and_its_status(
    error: BaseException,
    status: int,
    said: str,
    command: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(raising(error)) == status
    assert capsys.readouterr().err.endswith(said)


def test_the_status_is_what_the_command_returns(command: Callable[..., int]) -> None:
    assert command(lambda: 1) == 1
    assert command(lambda: None) == 0


def test_interrupts(command: Callable[..., int]) -> None:
    assert command(interrupt) == exits.INTERRUPTED == 130
    assert command(terminate) == exits.TERMINATED == 143


def test_the_traceback_is_there_when_asked_for(command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(raising(errors.NotFound("x")), "--debug") == 4
    assert "Traceback" in capsys.readouterr().err
    assert command(raising(errors.NotFound("x"))) == 4
    assert "Traceback" not in capsys.readouterr().err


def test_every_error_of_the_library_has_a_documented_status() -> None:
    def below(kind: type[errors.OrchestratorError]) -> set[type[errors.OrchestratorError]]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    assert {kind.exit_code for kind in below(errors.OrchestratorError)} == {1, 2, 3, 4, 69, 75, 124}


def test_an_interrupt_waits_until_the_block_is_done() -> None:
    done = []

    def interrupted_in_the_middle() -> None:
        with held_back():
            interrupt()
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        interrupted_in_the_middle()
    assert done == ["all of it"]
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def test_who_insists_is_not_kept_waiting() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), held_back(once=True):  # noqa: PT012 - which of the lines raises is the point
        interrupt()
        done.append("the first one waits")
        interrupt()
        done.append("the second one does not")
    assert done == ["the first one waits"]


class Finalised:
    """Interrupted while Python gets rid of it, where it ignores errors."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_an_interruption_that_python_has_ignored_takes_effect_a_little_later(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), noticed() as look_again:  # noqa: PT012 - which of the lines raises is the point
        look_again()
        thing = Finalised()
        del thing
        with held_back():
            pass
        went_on = True
        look_again()
        went_on = False
    assert went_on
    assert not capsys.readouterr().err, "nobody has to read of it"
    assert signal.getsignal(signal.SIGINT) is before
