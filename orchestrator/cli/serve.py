"""`worker`, `beat` and `up`: the processes that do the work."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import click

from orchestrator.cli.output import common_options, emit, session, talk
from orchestrator.cli.targets import parse_agents

if TYPE_CHECKING:
    from orchestrator.environment import Environment

agents_option = click.option(
    "--agents",
    callback=parse_agents,
    metavar="A,B",
    help="Agent classes to work for, by default all that the app declares. `control` is always among them.",
)


@click.command()
@agents_option
@click.option("--concurrency", type=click.IntRange(1, 256), default=4, show_default=True, help="Steps at a time.")
@click.option("--name", default="worker", show_default=True, help="Unique among the workers of this host.")
@common_options
def worker(agents: tuple[str, ...] | None, concurrency: int, name: str) -> None:
    """Run a Celery worker in the foreground.

    Needs ORCHESTRATOR_BROKER_URL and ORCHESTRATOR_STORE_URL, or `orchestrator up` in the same folder. The app is
    found by ORCHESTRATOR_APP, from the current folder on.
    """
    from orchestrator.environment import Environment

    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
        raise click.UsageError("--name takes letters, digits, '_', '.' and '-'")
    environment = Environment.load()
    arguments = ["-n", f"{name}@%h", "-c", str(concurrency), "--without-gossip", "--without-mingle"]
    if agents is not None:
        arguments += ["-Q", ",".join(queue_names(agents))]
    _become_celery(environment, "worker", arguments)


@click.command()
@common_options
def beat() -> None:
    """Run the scheduler in the foreground. Needs what `worker` needs. Of several, one works and the others wait."""
    from orchestrator.environment import Environment

    _become_celery(Environment.load(), "beat", ["--pidfile", ""])


def queue_names(classes: tuple[str, ...]) -> list[str]:
    """The queues of these agent classes, and control, which every deployment needs someone to consume."""
    from orchestrator.engine.routing import CONTROL, agent_queue

    return [*(agent_queue(name) for name in classes), CONTROL]


def _become_celery(environment: Environment, command: str, arguments: list[str]) -> NoReturn:
    """Replace this process, so that signals and the exit status are Celery's own."""
    from orchestrator.cli.connect import running_urls

    broker, store = running_urls(environment)
    os.environ["ORCHESTRATOR_BROKER_URL"], os.environ["ORCHESTRATOR_STORE_URL"] = broker, store
    level = ["--loglevel", environment.log_level]
    os.execv(  # noqa: S606 - our own argument list, no shell
        sys.executable, [sys.executable, "-m", "orchestrator.engine", environment.app, command, *arguments, *level]
    )


@click.command()
@agents_option
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Worker processes.")
@click.option("--concurrency", type=click.IntRange(1, 256), default=4, show_default=True, help="Steps at a time each.")
@click.option("--no-beat", is_flag=True, help="Without the scheduler.")
@common_options
def up(agents: tuple[str, ...] | None, workers: int, concurrency: int, no_beat: bool) -> None:
    """Keep a whole local stack running in the foreground: Valkey, workers and beat.

    What exits is started again. With ORCHESTRATOR_BROKER_URL and ORCHESTRATOR_STORE_URL set, no Valkey is started.
    Ctrl-C ends everything; interrupted runs go on at the next start.
    """
    from orchestrator.embedded import Stack, StackOptions
    from orchestrator.environment import Environment

    environment = Environment.load()
    options = StackOptions(
        home=environment.home,
        app=environment.app,
        workers=workers,
        concurrency=concurrency,
        queues=None if agents is None else tuple(queue_names(agents)),
        beat=not no_beat,
        broker_url=None if environment.is_embedded else environment.broker_url or environment.store_url,
    )
    if not environment.is_embedded:
        broker, store = str(options.broker_url), environment.store_url or str(options.broker_url)
        os.environ["ORCHESTRATOR_BROKER_URL"], os.environ["ORCHESTRATOR_STORE_URL"] = broker, store
    ended = threading.Event()
    with Stack(options, lambda event: _tell(event, ended)) as stack:
        stack.wait_ready()
        if environment.is_embedded:
            emit(f"export ORCHESTRATOR_BROKER_URL='{stack.url}'\nexport ORCHESTRATOR_STORE_URL='{stack.url}'")
        talk("ready; Ctrl-C ends it")
        ended.wait()
        stack.check()


def _tell(event: Mapping[str, Any], ended: threading.Event) -> None:
    match event["event"]:
        case "exited":
            again = f"again in {event['delay']:g} s" if event["delay"] else "again at once"
            talk(f"{event['member']} has ended (status {event['status']}), {again}; log: {event['log']}")
        case "started" if session.debug:
            talk(f"{event['member']} is process {event['pid']}")
        case "ready":
            talk(f"{event['member']} is ready")
        case "failed" | "gone":
            ended.set()
