"""`doctor`: is everything there that a run needs?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from orchestrator.checks import Check
from orchestrator.cli.output import common_options, emit_data, output_option, table
from orchestrator.errors import InvalidDocument, OrchestratorError

if TYPE_CHECKING:
    from celery import Celery

    from orchestrator.environment import Environment

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.option("--scan-queues", is_flag=True, help="Look at every message that waits, too: can it be run?")
@output_option
@common_options
def doctor(scan_queues: bool, form: str) -> int:
    """Check settings, Redis, the app and the workers; every line says what would help.

    Without ORCHESTRATOR_BROKER_URL and ORCHESTRATOR_STORE_URL the local server is checked. Exit status 69 if Redis or
    workers are missing, 1 for any other failure, 0 with warnings.
    """
    found = list(_examine(scan_queues))
    document = {"ok": all(check.status != "fail" for check in found), "checks": [check.document() for check in found]}
    emit_data(document, form, lambda: _page(found))
    if any(check.unavailable and check.status == "fail" for check in found):
        return 69
    return 0 if document["ok"] else 1


def _page(found: list[Check]) -> str:
    rows = [
        (check.status, check.name, check.message + (f" → {check.remedy}" if check.remedy else "")) for check in found
    ]
    return table(("", "check", ""), rows, _COLOURS)


def _examine(scan_queues: bool) -> Iterator[Check]:
    from orchestrator.environment import Environment

    try:
        environment = Environment.load()
    except InvalidDocument as error:
        for problem in error.problems:
            yield Check("environment", "fail", f"{problem.path}: {problem.message}", problem.hint)
        return
    yield Check("environment", "ok", "every ORCHESTRATOR_ variable is known")
    if environment.is_embedded:
        yield from _embedded(environment, scan_queues)
        return
    broker = str(environment.broker_url or environment.store_url)
    store = str(environment.store_url or broker)
    named = {"store": store, "broker": broker} if broker != store else {"redis": store}
    found = [check for name, url in named.items() for check in _server(name, url)]
    yield from found
    if not any(check.unavailable for check in found):
        yield from _app(environment, scan_queues)


def _embedded(environment: Environment, scan_queues: bool) -> Iterator[Check]:
    from orchestrator.embedded import Stack, StackOptions

    yield Check("local stack", "ok", f"no URL is set: a local server below {environment.home} is used")
    try:
        with Stack(StackOptions(home=environment.home, workers=0)) as stack:
            yield from _server("redis", stack.url)
            if scan_queues:
                yield from _waiting(load_app(environment.app), stack.url)
    except OrchestratorError as error:
        yield Check("redis", "fail", str(error), "see the log", unavailable=True)


def _server(name: str, url: str) -> Iterator[Check]:
    from orchestrator.connection import connect_blocking
    from orchestrator.engine.startup import of_server
    from orchestrator.environment import mask_url

    try:
        with connect_blocking(url) as client:
            found = list(of_server(client))
    except (OrchestratorError, ValueError) as error:
        remedy = "start the server, or correct the URL"
        yield Check(name, "fail", f"{mask_url(url)}: {' '.join(str(error).split())}", remedy, unavailable=True)
        return
    yield Check(name, "ok", mask_url(url))
    yield from found


def _app(environment: Environment, scan_queues: bool) -> Iterator[Check]:
    from orchestrator.engine.startup import of_app, of_fleet, of_store

    try:
        app = load_app(environment.app)
    except Exception as error:  # noqa: BLE001 - importing the user's modules may raise anything
        text = f"{environment.app} cannot be imported: {type(error).__name__}: {error}"
        yield Check("app", "fail", text, "set ORCHESTRATOR_APP, or run it from the project's folder")
        return
    yield Check("app", "ok", environment.app)
    yield from of_app(app)
    yield from of_store(app)
    yield from of_fleet(app)
    if scan_queues:
        yield from _waiting(app)


def _waiting(app: Celery, url: str | None = None) -> Iterator[Check]:
    from orchestrator.checks import entries
    from orchestrator.engine.dead_messages import scan

    yield from entries(scan(app, url))


def load_app(name: str) -> Celery:
    """The Celery application of that name, looked for from the current folder on."""
    import os
    import sys

    from celery.app.utils import find_app

    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    app: Celery = find_app(name)
    return app
