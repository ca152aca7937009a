"""The API's answers to GET: runs, and one run."""

from __future__ import annotations

from pydantic import TypeAdapter

from orchestrator.flower.access import ApiHandler
from orchestrator.run.models import RunSummary

_SUMMARIES = TypeAdapter(list[RunSummary])


class Runs(ApiHandler):
    """`GET /api/workflows`: the newest runs, as a list of `run.models.RunSummary`."""

    async def get(self) -> None:
        found = await self.service.call(self.service.client.list)
        self.send(_SUMMARIES.dump_json(found))


class Run(ApiHandler):
    """`GET /api/workflows/<id>`: everything about a run, as `views.models.RunView`. With `?values=false` without
    inputs, outputs and the sides of conflicts."""

    async def get(self, run_id: str) -> None:
        values = self.get_query_argument("values", "true") != "false"
        self.send(await self.service.call(lambda: self.service.views.view(run_id, values=values).model_dump_json()))
