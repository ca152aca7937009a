"""What a worker's main process knows of a delivered step, and tells Celery's watchers."""

from __future__ import annotations

from typing import Any

from celery.worker.request import Request

from orchestrator.engine.losing import LOST


class StepRequest(Request):
    """Celery's request. Its process may have gone on to other steps, and then has told by itself what became of this
    one."""

    _eventer: Any

    def send_event(self, type: str, **fields: Any) -> None:
        if type == "task-succeeded" and fields.get("result") is None:
            return
        lost = getattr(vars(self).get("_context"), LOST, None)
        if lost is None:
            super().send_event(type, **fields)
        elif lost and self._eventer and self._eventer.enabled:
            self._eventer.send(type, uuid=lost, **fields)
