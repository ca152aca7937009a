"""A definition written as a document that reads back as the same definition."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from orchestrator.units import format_duration, format_range
from orchestrator.workflow.models import BarrierSpec, GroupSpec, InputSpec, StepSpec, WorkflowSpec

_PLAIN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:[ ./-][A-Za-z0-9_]+)*")
_WORDS = frozenset({"yes", "no", "on", "off", "y", "n", "true", "false", "null"})
_DURATIONS = ("timeout", "idle_timeout", "schedule_timeout", "item_timeout")
_RETRY_DURATIONS = ("initial_interval", "maximum_interval")


def to_yaml(workflow: WorkflowSpec) -> str:
    """The definition as YAML text. `load_workflow_text` gives back an equal WorkflowSpec."""
    document = to_document(workflow)
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)


def to_document(workflow: WorkflowSpec) -> dict[str, Any]:
    """The definition in the file's form: all steps flat and in order, then the groups that name them."""
    document: dict[str, Any] = {"name": workflow.name}
    if workflow.version != "1":
        document["version"] = workflow.version
    if workflow.description:
        document["description"] = workflow.description
    if workflow.timeout is not None:
        document["timeout"] = format_duration(workflow.timeout)
    if workflow.schedule is not None:
        document["schedule"] = workflow.schedule
    if workflow.inputs:
        document["inputs"] = {name: _input(declared) for name, declared in workflow.inputs.items()}
    sharing = ("max_parallel", "fairness_key", "fairness_weight")
    document |= workflow.model_dump(include=set(sharing), exclude_defaults=True)
    merge = workflow.merge.model_dump(mode="json", exclude_defaults=True)
    if merge:
        document["merge"] = merge
    document["steps"] = [_step(step) for step in workflow.steps]
    if workflow.groups:
        document["execution_groups"] = {group.id: _group(group) for group in workflow.groups}
    return document


def _input(declared: InputSpec) -> dict[str, Any] | None:
    written = declared.model_dump(exclude_defaults=True)
    if declared.default is None and not declared.required:
        written["default"] = None
    return written or None


def _step(step: StepSpec) -> dict[str, Any]:
    written: dict[str, Any] = step.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"group"})
    if step.agent == step.id and not step.pipeline and step.fork_join is None:
        del written["agent"]
    if "extension" in written.get("barrier", {}):
        written["barrier"]["extension"] = format_duration(written["barrier"]["extension"])
    for key in _DURATIONS:
        if key in written:
            written[key] = format_duration(written[key])
    for key in _RETRY_DURATIONS:
        if key in written.get("retry", {}):
            written["retry"][key] = format_duration(written["retry"][key])
    if not isinstance(written.get("cache", True), bool):
        written["cache"] = format_duration(written["cache"])
    if step.estimated_duration is not None:
        written["estimated_duration"] = format_range(step.estimated_duration.low, step.estimated_duration.high)
    if "resources" in written:
        written["resources"] = {key: _whole(amount) for key, amount in written["resources"].items()}
    return written


def _group(group: GroupSpec) -> dict[str, Any]:
    written: dict[str, Any] = {"agents": list(group.steps), "parallel_capable": group.parallel_capable}
    for key in ("name", "description", "resource_isolation"):
        if getattr(group, key):
            written[key] = getattr(group, key)
    if group.estimated_duration is not None:
        written["estimated_duration"] = format_range(group.estimated_duration.low, group.estimated_duration.high)
    if group.locks:
        written["locks"] = {section: mode.value for section, mode in group.locks.items()}
    barrier = _barrier(group.barrier)
    if barrier:
        written["barrier"] = barrier
    return written


def _barrier(barrier: BarrierSpec) -> dict[str, Any]:
    written: dict[str, Any] = barrier.model_dump(mode="json", exclude_defaults=True)
    for key in ("timeout", "extension"):
        if key in written:
            written[key] = format_duration(written[key])
    if "cross_validation" in written:
        written["cross_validation"]["enabled"] = barrier.cross_validation.enabled
        if "validation_timeout" in written["cross_validation"]:
            timeout = written["cross_validation"]["validation_timeout"]
            written["cross_validation"]["validation_timeout"] = format_duration(timeout)
    return written


def _whole(amount: Any) -> Any:
    if isinstance(amount, Mapping):
        return {name: _whole(item) for name, item in amount.items()}
    return int(amount) if isinstance(amount, float) and amount.is_integer() else amount


class _Dumper(yaml.SafeDumper):
    """Puts every text in quotes that any YAML reader could take for something else."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = '"'
    if _PLAIN_TEXT.fullmatch(text) and text.lower() not in _WORDS:
        style = ""
    elif "\n" in text and text[0].isalnum() and all(_is_plain_line(line) for line in text.split("\n")):
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style or None)


def _is_plain_line(line: str) -> bool:
    return line.isprintable() and line == line.rstrip() and "\ufeff" not in line


_Dumper.add_representer(str, _text)
