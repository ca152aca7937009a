"""Early warnings: a member of a group has written where another one has, or is going to, long before the barrier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator import keys
from orchestrator.barrier.overlap import Author, overlaps
from orchestrator.context.fields import section_of
from orchestrator.engine.agent import REGISTRY
from orchestrator.engine.runtime import Runtime, log
from orchestrator.errors import OrchestratorError
from orchestrator.run.replies import Writer


def warn_early(runtime: Runtime, run_id: str, definition: Mapping[str, Any], fields: Iterable[str]) -> None:
    """A member of a group has written these fields, or shows them in a draft. One round trip when some are shared, and
    one more when that meets what others write. It is only a warning: an error of the store is logged."""
    step, group = definition["id"], definition.get("group")
    paths = [] if group is None else [field for field in fields if section_of(field) != step]
    phases = runtime.settings.barrier_synchronization.phases
    if group is None or not paths or "detect_potential_conflicts_early" not in phases.phase_2_execution_monitoring:
        return
    node = keys.barrier_node(group)
    try:
        others = [_author(member) for member in runtime.ledger.wrote(run_id, node, step, paths)]
        found = list(overlaps(paths, others))
        told = [(one.path, one.other, str(one)) for one in found]
        for sentence in runtime.ledger.warn(run_id, node, step, told) if told else ():
            log.warning("run %s group %s: conflict ahead: %s has written %s", run_id, group, step, sentence)
    except OrchestratorError as error:
        log.warning("run %s group %s: no look for conflicts ahead: %s", run_id, group, error)


def _author(member: Writer) -> Author:
    agent = REGISTRY.get(member.definition["agent"])
    declared = member.definition.get("write")
    if declared is None:
        declared = () if agent is None or agent.writes is None else agent.writes
    return Author(member.step, member.state, member.wrote, tuple(declared))
