"""The command line. One module per family of commands, imported when one of its commands is used."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; the console script exits with it."""
    from orchestrator.cli.exits import run_command

    return run_command(arguments)
