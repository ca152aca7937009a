"""Which address leads where."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from tornado.routing import URLSpec
from tornado.web import url

from orchestrator.flower import endpoint, events, pages
from orchestrator.flower.catalogue import OPERATIONS, PARTS
from orchestrator.pages.bundle import STATIC

API = "/api/workflows"
DATA = "/workflows/-"
"""The same as the API, for our pages: they may read wherever Flower shows its own pages, also without credentials."""


def routes() -> list[URLSpec]:
    """Everything that is added to Flower. The first address that fits is taken."""
    return [
        url("/workflows", pages.ListPage, name="workflows"),
        url("/workflows/compare", pages.ComparePage, name="workflows_compare"),
        url(r"/workflows/static/(runs|run|compare)\.bundle\.js", pages.Script, name="workflows_script"),
        url("/workflows/static/(.+)", pages.StaticPage, {"path": str(STATIC)}, name="workflows_static"),
        *_api(DATA, name="workflows_data", open_reading=True),
        url(f"/workflows/({PARTS['run']})", pages.RunPage, name="workflow"),
        *_api(API, name="workflows_api", open_reading=False),
    ]


def _api(base: str, *, name: str, open_reading: bool) -> Iterator[URLSpec]:
    yield url(f"{base}/events", events.NewsEvents, {"open_reading": open_reading})
    for path, found in groupby(OPERATIONS, key=lambda operation: operation.path):
        here = {"operations": {one.method: one for one in found}, "base": name, "open_reading": open_reading}
        yield url(base + pattern(path), endpoint.Endpoint, here, name=None if path else name)
    yield url(f"{base}/openapi\\.json", endpoint.Description, {"base": name, "open_reading": open_reading})
    yield url(base + pattern("/{run}/events"), events.RunEvents, {"open_reading": open_reading})
    yield url(f"{base}(?:/.*)?", endpoint.Unknown, {"open_reading": open_reading})


def pattern(path: str) -> str:
    """`/{run}/log` as a regular expression with named groups."""
    for name, allowed in PARTS.items():
        path = path.replace(f"{{{name}}}", f"(?P<{name}>{allowed})")
    return path
