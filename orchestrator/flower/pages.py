"""The pages. What they show they fetch themselves, from the address in `api`; see `routes` for what is there.

Their templates know `api` (that address, with Flower's prefix), `asset(name)` (the address of a file of
`orchestrator.pages`), `script(page)` (that of all modules of a page as one), `may_act` (whether this Flower takes
requests that change something) and `run_id`, empty but on the page of a run. The token for such requests is in the
page, and is sent as the header `X-XSRFToken`.
"""

from __future__ import annotations

import hashlib
from functools import cache
from http import HTTPStatus

from tornado.web import HTTPError, StaticFileHandler, authenticated

from orchestrator.errors import NotFound, StoreUnavailable
from orchestrator.flower.access import Handler
from orchestrator.pages.bundle import DAGRE, STATIC, bundle

POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data:",  # icons in Flower's style sheets
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
"""Nothing but files of this Flower is run or shown: no inline script, whatever gets into a page."""


class Page(Handler):
    """A page under Flower's navigation bar."""

    def show(self, template: str, *, run_id: str = "", **more: str) -> None:
        """Render one of our templates, which may know `more`."""
        self.set_header("Content-Security-Policy", POLICY)
        self.render(
            template,
            api=self.reverse_url("workflows_data"),
            asset=self._asset,
            script=self._script,
            dagre=DAGRE,
            may_act=self.may_act,
            run_id=run_id,
            **more,
        )

    def _asset(self, name: str) -> str:
        version = StaticFileHandler.get_version({"static_path": str(STATIC)}, name)
        return f"{self.reverse_url('workflows_static', name)}?v={version or ''}"

    def _script(self, page: str) -> str:
        return f"{self.reverse_url('workflows_script', page)}?v={_script_of(page)[1]}"


class ListPage(Page):
    """`/workflows`: all runs."""

    @authenticated
    def get(self) -> None:
        self.show("workflows.html")


class RunPage(Page):
    """`/workflows/<run>`: one run."""

    @authenticated
    async def get(self, run_id: str) -> None:
        try:
            await self.service.call(lambda: self.service.client.reader.state(run_id))
        except NotFound as error:
            self.set_status(HTTPStatus.NOT_FOUND)
            self._missing("There is no such run", error, "Runs are forgotten some time after their end, as retention "
                          "in the engine's settings says. Is the whole id in the address?")  # fmt: skip
        except StoreUnavailable as error:
            self.set_status(HTTPStatus.SERVICE_UNAVAILABLE)
            self._missing("The store does not answer", error, "Nothing is lost: runs go on when it is back. Then load "
                          "this page again.")  # fmt: skip
        else:
            self.show("workflow.html", run_id=run_id)

    def _missing(self, title: str, error: Exception, hint: str) -> None:
        self.show("workflow_missing.html", title=title, said=str(error), hint=hint)


class ComparePage(Page):
    """`/workflows/compare?a=<run>&b=<run>`: two runs beside each other."""

    @authenticated
    def get(self) -> None:
        self.show("workflows_compare.html")


@cache
def _script_of(page: str) -> tuple[str, str]:
    """The modules of a page as one script, and its version. A page of many requests is slow where Flower is busy."""
    text = bundle(page)
    return text, hashlib.sha256(text.encode()).hexdigest()[:32]


class Script(Handler):
    """`/workflows/static/<page>.bundle.js`: kept by browsers, whose copy of another version has another address."""

    def get(self, page: str) -> None:
        if not self.current_user:
            raise HTTPError(HTTPStatus.UNAUTHORIZED)
        text, version = _script_of(page)
        kept = "max-age=31536000, immutable" if self.get_query_argument("v", "") == version else "no-cache"
        self.set_header("Content-Type", "text/javascript; charset=UTF-8")
        self.set_header("Cache-Control", f"private, {kept}")
        self.finish(text)


class StaticPage(Handler, StaticFileHandler):
    """Files of our pages."""

    def prepare(self) -> None:
        if not self.current_user:
            raise HTTPError(HTTPStatus.UNAUTHORIZED)
