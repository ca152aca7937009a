"""`worker`, `beat` and `up`: the processes that do the work."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import click

from orchestrator.cli.connect import store_url
from orchestrator.cli.output import common_options, emit, session, talk
from orchestrator.cli.targets import engine_settings, parse_agents

if TYPE_CHECKING:
    from orchestrator.embedded.scaling import Group
    from orchestrator.environment import Environment

MOST_WORKERS = 64
SCALE_SECONDS = 30.0
"""How long `scale` waits for the workers; those that end may take as long as their steps."""

agents_option = click.option(
    "--agents",
    callback=parse_agents,
    metavar="A,B",
    help="Agent classes to work for, by default all that the app declares. `control` is always among them.",
)

concurrency_option = click.option(
    "--concurrency", type=click.IntRange(1, 256), help="Steps at a time; by default as the engine file says."
)


@click.command()
@agents_option
@concurrency_option
@click.option("--name", default="worker", show_default=True, help="Unique among the workers of this host.")
@click.option("--options", "only", is_flag=True, help="Print Celery's options for the pool, and start nothing.")
@common_options
def worker(agents: tuple[str, ...] | None, concurrency: int | None, name: str, only: bool) -> None:
    """Run a Celery worker in the foreground. Its pool is that of its classes in the engine file.

    Needs ORCHESTRATOR_BROKER_URL and ORCHESTRATOR_STORE_URL, or `orchestrator up` in the same folder. The app is
    found by ORCHESTRATOR_APP, from the current folder on.
    """
    from orchestrator.environment import Environment

    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
        raise click.UsageError("--name takes letters, digits, '_', '.' and '-'")
    pool = pool_arguments(agents, concurrency)
    if only:
        emit(" ".join(pool))
        return
    environment = Environment.load()
    arguments = ["-n", f"{name}@%h", *pool, "--without-gossip", "--without-mingle"]
    if agents is not None:
        arguments += ["-Q", ",".join(queue_names(agents))]
    _become_celery(environment, "worker", arguments)


@click.command()
@common_options
def beat() -> None:
    """Run the scheduler in the foreground. Needs what `worker` needs. Of several, one works and the others wait."""
    from orchestrator.environment import Environment

    _become_celery(Environment.load(), "beat", ["--pidfile", ""])


def pool_arguments(classes: tuple[str, ...] | None, concurrency: int | None) -> list[str]:
    """Celery's options for the pool of a worker of these classes, by the engine file. Raises click.UsageError."""
    from orchestrator.engine_fleet import worker_arguments

    try:
        return worker_arguments(engine_settings().workers, classes, concurrency)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


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


def _scales(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, int]:
    """Callback of `--scale agents.architect=3`."""
    found = {}
    for value in values:
        name, equals, number = value.removeprefix("agents.").partition("=")
        if not equals or not number.isdigit() or int(number) > MOST_WORKERS:
            raise click.BadParameter(f"'{value}': write CLASS=N with N from 0 to {MOST_WORKERS}", ctx, param)
        found[_class_name(ctx, param, name)] = int(number)
    return found


def _class_name(ctx: click.Context, param: click.Parameter, value: str) -> str:
    names = parse_agents(ctx, param, value.removeprefix("agents."))
    if names is None or len(names) != 1:
        raise click.BadParameter(f"'{value}' is no agent class", ctx, param)
    return names[0]


def group_of(name: str, count: int) -> Group:
    """So many workers of a class, as the engine file says."""
    from orchestrator.embedded.scaling import Group
    from orchestrator.engine.routing import agent_queue

    return Group(count=count, queues=(agent_queue(name),), arguments=tuple(pool_arguments((name,), None)))


@click.command()
@click.argument("name", metavar="CLASS", callback=_class_name)
@click.argument("count", metavar="N", type=click.IntRange(0, MOST_WORKERS))
@common_options
def scale(name: str, count: int) -> None:
    """Let the stack that `orchestrator up` keeps running here have N workers for the agent class CLASS alone.

    New ones are started; surplus ones finish what they run and end.
    """
    from orchestrator.cli.patience import until
    from orchestrator.connection import connect
    from orchestrator.embedded.scaling import ask
    from orchestrator.environment import Environment
    from orchestrator.run.reader import RunReader

    environment = Environment.load()
    ask(environment.home.absolute(), name, group_of(name, count))
    with store_url(environment) as url:
        reader = RunReader(connect(url))

        def there() -> int:
            return sum(host.partition("@")[0].rpartition("-")[0] == name for host in reader.workers())

        if not until(lambda: there() == count, SCALE_SECONDS):
            talk(f"{there()} of {count} workers of {name} are there by now; those that end finish what they run first")
            return
    emit(f"{name}: {count} worker{'' if count == 1 else 's'}")


@click.command()
@agents_option
@click.option("--workers", type=click.IntRange(1, MOST_WORKERS), default=1, show_default=True, help="Worker processes.")
@concurrency_option
@click.option(
    "--scale",
    "scaled",
    multiple=True,
    callback=_scales,
    metavar="CLASS=N",
    help="N further workers for one class alone; `orchestrator scale` changes it later.",
)
@click.option("--no-beat", is_flag=True, help="Without the scheduler.")
@common_options
def up(
    agents: tuple[str, ...] | None, workers: int, concurrency: int | None, scaled: dict[str, int], no_beat: bool
) -> None:
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
        arguments=tuple(pool_arguments(agents, concurrency)),
        scale={name: group_of(name, count) for name, count in _with_pools(agents, scaled).items()},
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


def _with_pools(agents: tuple[str, ...] | None, scaled: dict[str, int]) -> dict[str, int]:
    """Classes that a worker for all leaves alone get one of their own, unless somebody says how many."""
    others = engine_settings().workers.apart() if agents is None else ()
    return {**dict.fromkeys(others, 1), **scaled}


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
