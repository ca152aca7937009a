"""What waits in the queues, as metrics for Prometheus: for dashboards, and for whoever scales workers by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from orchestrator.connection import connect_once
from orchestrator.engine.depths import depths_at
from orchestrator.engine.registry import known_agents
from orchestrator.engine.routing import agent_queue
from orchestrator.engine.runtime import log
from orchestrator.errors import OrchestratorError
from orchestrator.fleet import learning
from orchestrator.workflow.models import DEFAULT_STEP_SECONDS

LABELS = ("queue", "agent_class")


class Backlog(Collector):
    """`orchestrator_queue_backlog`: steps that wait, by queue, over all priorities. `orchestrator_queue_work_seconds`:
    how long one slot would take for them. Asks Redis at each scrape; tells nothing when that does not answer. `urls`
    gives those of broker and store."""

    def __init__(self, urls: Callable[[], tuple[str, str]]) -> None:
        self._urls = urls

    def describe(self) -> list[GaugeMetricFamily]:
        """So that registering it asks nobody."""
        return list(self._families())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        waiting, work = self._families()
        try:
            broker_url, store_url = self._urls()
            classes: dict[str, list[str]] = {}
            with connect_once(store_url) as store, connect_once(broker_url) as broker:
                for name, declared in known_agents(store).items():
                    classes.setdefault(str(declared["queue"]), []).append(name)
                durations = learning.durations(store)
                found = depths_at(broker, map(agent_queue, classes))
        except OrchestratorError as error:
            log.warning("no metrics of the queues: %s", error)
            return
        for name in sorted(classes):
            queue = agent_queue(name)
            seconds = learning.mean_seconds(durations, classes[name]) or DEFAULT_STEP_SECONDS
            waiting.add_metric((queue, name), found[queue])
            work.add_metric((queue, name), found[queue] * seconds)
        yield waiting
        yield work

    def _families(self) -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
        return (
            GaugeMetricFamily("orchestrator_queue_backlog", "Steps that wait in a queue.", labels=LABELS),
            GaugeMetricFamily(
                "orchestrator_queue_work_seconds", "How long one slot would take for what waits.", labels=LABELS
            ),
        )
