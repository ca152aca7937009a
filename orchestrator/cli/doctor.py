"""`doctor`: is everything there that a run needs?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli import checks
from orchestrator.cli.checks import Check
from orchestrator.cli.output import common_options, emit_data, output_option, table
from orchestrator.errors import InvalidDocument, OrchestratorError

if TYPE_CHECKING:
    import redis
    from celery import Celery

    from orchestrator.environment import Environment

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
_REPLY_TIMEOUT = 2.0


@click.command()
@output_option
@common_options
def doctor(form: str) -> int:
    """Check settings, Redis, the app and the workers; every line says what would help.

    Without ORCHESTRATOR_BROKER_URL and ORCHESTRATOR_STORE_URL the local server is checked. Exit status 69 if Redis or
    workers are missing, 1 for any other failure, 0 with warnings.
    """
    found = list(_examine())
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


def _examine() -> Iterator[Check]:
    from orchestrator.environment import Environment

    try:
        environment = Environment.load()
    except InvalidDocument as error:
        for problem in error.problems:
            yield Check("environment", "fail", f"{problem.path}: {problem.message}", problem.hint)
        return
    yield Check("environment", "ok", "every ORCHESTRATOR_ variable is known")
    if environment.is_embedded:
        yield from _embedded(environment)
        return
    broker = str(environment.broker_url or environment.store_url)
    store = str(environment.store_url or broker)
    named = {"store": store, "broker": broker} if broker != store else {"redis": store}
    found = [check for name, url in named.items() for check in _server(name, url)]
    yield from found
    if not any(check.unavailable for check in found):
        yield from _app(environment, store)


def _embedded(environment: Environment) -> Iterator[Check]:
    from orchestrator.embedded import Stack, StackOptions

    yield Check("local stack", "ok", f"no URL is set: a local server below {environment.home} is used")
    try:
        with Stack(StackOptions(home=environment.home, workers=0)) as stack:
            yield from _server("redis", stack.url)
    except OrchestratorError as error:
        yield Check("redis", "fail", str(error), "see the log", unavailable=True)


def _server(name: str, url: str) -> Iterator[Check]:
    from orchestrator.connection import connect_blocking, guarded
    from orchestrator.environment import mask_url

    try:
        client = connect_blocking(url)
        try:
            with guarded():
                info: Any = client.info()
                skew = _skew(client)
        finally:
            client.close()
    except (OrchestratorError, ValueError) as error:
        remedy = "start the server, or correct the URL"
        yield Check(name, "fail", f"{mask_url(url)}: {' '.join(str(error).split())}", remedy, unavailable=True)
        return
    yield Check(name, "ok", mask_url(url))
    yield from (checks.server_version(info), checks.eviction(info), checks.persistence(info), checks.clock(skew))


def _skew(client: redis.Redis) -> float:
    before = time.time()
    seconds, micros = client.time()
    after = time.time()
    return (before + after) / 2 - (seconds + micros / 1e6)


def _app(environment: Environment, store: str) -> Iterator[Check]:
    from orchestrator.cli.connect import alive_workers
    from orchestrator.client import Client

    try:
        app = load_app(environment.app)
    except Exception as error:  # noqa: BLE001 - importing the user's modules may raise anything
        text = f"{environment.app} cannot be imported: {type(error).__name__}: {error}"
        yield Check("app", "fail", text, "set ORCHESTRATOR_APP, or run it from the project's folder")
        return
    yield Check("app", "ok", environment.app)
    yield checks.content(app.conf)
    lease = getattr(getattr(app, "orchestrator", None), "settings", None)
    yield checks.visibility(app.conf.broker_transport_options, lease.engine.lease_seconds if lease else 0.0)
    with Client(store, environment=environment) as client:
        alive = len(alive_workers(client))
    inspection = app.control.inspect(timeout=_REPLY_TIMEOUT, limit=alive)
    consumed = inspection.active_queues() or {} if alive else {}
    yield checks.workers(sorted(consumed))
    if consumed:
        names = frozenset(queue["name"] for listed in consumed.values() for queue in listed)
        yield from checks.queues(_waiting(app), names)


def load_app(name: str) -> Celery:
    """The Celery application of that name, looked for from the current folder on."""
    import os
    import sys

    from celery.app.utils import find_app

    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    app: Celery = find_app(name)
    return app


def _waiting(app: Celery) -> Mapping[str, int]:
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        return {name: int(channel._size(name)) for name in app.amqp.queues}
