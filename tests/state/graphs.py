"""Workflows of any shape, for tests that have to hold for all of them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from orchestrator.workflow.models import BarrierSpec, CrossValidation, GroupSpec, TriggerRule, WorkflowSpec
from tests.state.bench import spec, step

RULES = [TriggerRule.ALL_SUCCESS, TriggerRule.ALL_SUCCESS, TriggerRule.ALL_DONE, TriggerRule.NONE_FAILED,
         TriggerRule.ONE_SUCCESS, TriggerRule.ALWAYS]  # fmt: skip
BARRIERS = [BarrierSpec(), BarrierSpec(cross_validation=CrossValidation(enabled=True))]


@st.composite
def workflows(
    draw: st.DrawFn, barriers: Sequence[BarrierSpec] = BARRIERS, rules: Sequence[TriggerRule] = RULES
) -> WorkflowSpec:
    """Up to nine steps with edges backwards, dealt out to no group or one of two, which may be cross-validated."""
    size = draw(st.integers(2, 9))
    names = [f"s{number}" for number in range(size)]
    homes = {name: draw(st.sampled_from([None, None, "g", "h"])) for name in names}
    steps = []
    for at, name in enumerate(names):
        needs = draw(st.lists(st.sampled_from(names[:at]), unique=True, max_size=3)) if at else []
        steps.append(step(name, *needs, rule=draw(st.sampled_from(rules)), group=homes[name]))
    groups = []
    for home in ("g", "h"):
        members = tuple(name for name in names if homes[name] == home)
        groups += [GroupSpec(id=home, steps=members, barrier=draw(st.sampled_from(barriers)))] if members else []
    return spec(*steps, groups=tuple(groups))
