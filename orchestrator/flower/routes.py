"""Which address leads where. Ids of runs are checked here: nothing else reaches a handler, or a key in the store."""

from __future__ import annotations

from collections.abc import Iterator

from tornado.routing import URLSpec
from tornado.web import url

from orchestrator.flower import events, pages, reads

RUN = "([A-Za-z0-9_-]{1,64})"
"""An id of a run, as a group of a regular expression."""
API = "/api/workflows"
DATA = "/workflows/-"
"""The same as the API, for our pages: they may read wherever Flower shows its own pages, also without credentials."""


def routes() -> list[URLSpec]:
    """Everything that is added to Flower. The first address that fits is taken."""
    return [
        url("/workflows", pages.ListPage, name="workflows"),
        url("/workflows/compare", pages.ComparePage, name="workflows_compare"),
        url("/workflows/static/(.+)", pages.StaticPage, {"path": str(pages.STATIC)}, name="workflows_static"),
        *_api(DATA, name="workflows_data", open_reading=True),
        url(f"/workflows/{RUN}", pages.RunPage, name="workflow"),
        *_api(API, name="workflows_api", open_reading=False),
    ]


def _api(base: str, *, name: str, open_reading: bool) -> Iterator[URLSpec]:
    access = {"open_reading": open_reading}
    yield url(base, reads.Runs, access, name=name)
    yield url(f"{base}/{RUN}", reads.Run, access)
    yield url(f"{base}/{RUN}/events", events.RunEvents, access)
