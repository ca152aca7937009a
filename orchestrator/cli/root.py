"""The command `orchestrator` itself: which commands there are, and where each one lives."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import NamedTuple

import click


class Home(NamedTuple):
    """Where a command is defined, and its line in the overview (which so needs no import)."""

    module: str
    summary: str


COMMANDS: Mapping[str, Home] = {
    "run": Home("execute", "Run a workflow and wait for its result; starts a local stack if none is configured."),
    "submit": Home("execute", "Hand a workflow to running workers and print the run's id."),
    "validate": Home("definition", "Check a workflow or engine file; every mistake at once."),
    "plan": Home("definition", "Show groups, critical path, slack and estimated makespans."),
    "explain": Home("definition", "Say in words what each step waits for, reads and writes."),
    "ls": Home("runs", "List runs, newest first."),
    "show": Home("runs", "Show one run: where it stands or stopped, why, and what to type next."),
    "analyze": Home("analyze", "Show where the time of a run went, beside the plan."),
    "logs": Home("runs", "Print what the steps of a run logged."),
    "watch": Home("runs", "Follow a run until it ends."),
    "cancel": Home("steer", "Cancel a run."),
    "pause": Home("steer", "Start nothing more of a run; what runs goes on."),
    "resume": Home("steer", "Let a paused run go on."),
    "retry": Home("steer", "Run again: a whole run, what failed of it, or one step and what follows."),
    "dlq": Home("dlq", "The dead-letter list: steps that kill their workers, messages that nobody could run."),
    "context": Home("context", "Show the shared context of a run, its versions, what differs; go back to one."),
    "conflicts": Home("conflicts", "List what agents wrote that could not be merged; decide what waits for you."),
    "cache": Home("cache", "What the caches hold and how often they helped; empty them."),
    "pools": Home("pools", "Show what the pools hold, who has it and who waits for it."),
    "alerts": Home("alerts", "List what whoever runs the deployment should know of."),
    "fleet": Home("fleet", "Show the workers: load, health, whom they help, what was decided and why."),
    "metrics": Home("metrics", "Print what waits in the queues, in the text format of Prometheus."),
    "bench": Home("bench", "Measure what things cost here, beside raw Celery and redis-py."),
    "up": Home("serve", "Keep a whole local stack running: server, workers, beat."),
    "scale": Home("serve", "Set how many workers a local stack has for a class of agents."),
    "worker": Home("serve", "Run a Celery worker for some or all agent classes."),
    "beat": Home("serve", "Run the scheduler."),
    "doctor": Home("doctor", "Check Redis, workers and settings, with a remedy for what is wrong."),
}


class LazyGroup(click.Group):
    """Knows its commands by name and imports only the one that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        home = COMMANDS.get(cmd_name)
        if home is None:
            return None
        command = getattr(import_module(f"orchestrator.cli.{home.module}"), cmd_name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, home.summary) for name, home in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            close = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean '{close[0]}'?" if close else "'orchestrator --help' lists the commands."
            raise click.UsageError(f"No such command '{name}'; {hint}", ctx)
        return super().resolve_command(ctx, args)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"orchestrator {version('orchestrator')}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    name="orchestrator",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=(
        "Exit status: 0 ok, 1 run failed, 2 usage, 3 invalid workflow, 4 not found, 69 Redis or workers unavailable, "
        "75 no capacity now, 124 timeout, 130 interrupted."
    ),
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def root() -> None:
    """Runs workflows of agents in parallel on Celery workers.

    Data goes to standard output, talk to standard error. Settings are ORCHESTRATOR_* variables; without
    ORCHESTRATOR_BROKER_URL and ORCHESTRATOR_STORE_URL everything runs in a local stack below .orchestrator/.
    """
