"""What the deployment's settings say about the form of its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct, field

from orchestrator.demand import DemandRules, demand_text, key_limit, rate_limit, run_limit
from orchestrator.engine_blocks import Priorities, TimeoutHandling
from orchestrator.settings import EngineSettings
from orchestrator.workflow.limits import rate_of
from orchestrator.workflow.models import BarrierSpec, GroupSpec, LockMode, StepSpec
from orchestrator.workflow.plan import (
    CRITICAL_PATH_PRIORITY,
    GROUP_PRIORITY,
    PLAIN_PRIORITY,
    VALIDATION_PRIORITY,
    Plan,
)
from orchestrator.workflow.structure import only_validates
from orchestrator.workflow.urgency import urgency

SEGMENT_LINKS = 6
PATIENCE = 2.0
"""A group that names no timeout has at least so many times what the slowest of its members took lately."""


class Shape(Struct, frozen=True, cache_hash=True):
    """What the deployment's settings say about the form of a run: how many steps a chain carries, and what holds for
    barriers that do not say otherwise. A group's extension may be shorter than the setting's, and never longer.

    So many `readers` or `writers` may hold a section's lock at a time; groups take theirs only with `group_locks`. In a
    `sequential` run no two steps run at a time, so that a group has the time of its barrier for each of its members.
    Without `together` a member starts as soon as its own needs are met and the pools have room for it, whatever the
    others have.
    `find_groups`: look for those that the file does not name; `reorder`: steps become more urgent when they have no
    slack left; `stretch`: a timeout that no group has named grows with what its members take.
    `input_bytes`: about how much the run is given. `demands` say what resources are in units of the pools,
    `priorities` how urgent steps are that do not say so themselves."""

    segment_links: int = SEGMENT_LINKS
    timeouts: TimeoutHandling = field(default_factory=TimeoutHandling)
    readers: int = 5
    writers: int = 1
    group_locks: bool = True
    sequential: bool = False
    together: bool = True
    input_bytes: int = 0
    demands: DemandRules = field(default_factory=DemandRules)
    priorities: Priorities = field(default_factory=Priorities)
    find_groups: bool = True
    reorder: bool = True
    stretch: bool = True

    @classmethod
    def of(cls, settings: EngineSettings, *, sequential: bool | None = None) -> Shape:
        """What these settings say; `sequential` overrides theirs."""
        monitoring = settings.performance_monitoring
        barriers, store = settings.barrier_synchronization, settings.resource_manager.resource_pool.context_store
        return cls(
            settings.engine.segment_links,
            barriers.timeout_handling,
            readers=store.concurrent_readers,
            writers=store.concurrent_writers,
            group_locks="establish_shared_context_locks" in barriers.phases.phase_1_initiation,
            together="start_all_parallel_agents_simultaneously" in barriers.phases.phase_1_initiation,
            sequential=settings.engine.sequential if sequential is None else sequential,
            demands=settings.demand_rules,
            priorities=settings.resource_manager.allocation_strategy.priorities,
            find_groups=monitoring.optimises("increase_parallelization_opportunities"),
            reorder=monitoring.optimises("reorder_non_critical_operations"),
            stretch=monitoring.adapts("modify_timeout_values"),
        )

    def spans(self, plan: Plan) -> dict[str, tuple[int, int]]:
        """Step -> its priorities without slack and with plenty, as the run goes on. A step that names its own, or that
        only validates others, keeps what it has."""
        if self.sequential or not self.reorder:
            return {}
        grouped = {step for group in plan.groups if group.barrier or not group.declared for step in group.steps}
        urgent, together = self.priorities.critical_path_agents, self.priorities.parallel_group_agents
        return {
            step.id: (urgent, together if step.id in grouped else PLAIN_PRIORITY)
            for step in plan.workflow.steps
            if step.priority is None and not only_validates(step)
        }

    def prioritised(self, plan: Plan) -> Plan:
        """The plan as a run of it begins: with priorities by `urgency`, between those that the deployment has for each
        role, and the longest way to the end first among the steps that start together."""
        given, spans = self.priorities, self.spans(plan)
        by_role = {
            CRITICAL_PATH_PRIORITY: given.critical_path_agents,
            GROUP_PRIORITY: given.parallel_group_agents,
            VALIDATION_PRIORITY: given.validation_agents,
        }
        steps = dict(plan.steps)
        for step in plan.workflow.steps:
            planned = steps[step.id]
            priority = planned.priority
            if step.id in spans:
                priority = urgency(planned.slack_seconds, planned.rank, plan.critical_path_seconds, *spans[step.id])
            elif step.priority is None:
                priority = by_role.get(priority, priority)
            if priority != planned.priority:
                steps[step.id] = planned.model_copy(update={"priority": priority})
        order = plan.order if self.sequential else sorted(plan.order, key=lambda name: -steps[name].rank)
        return plan.model_copy(update={"steps": steps, "order": tuple(order)})

    def demand(self, step: StepSpec, queue_of: Callable[[str], str], max_parallel: int | None) -> str:
        """What a step has to be granted by the pools before it is queued; empty for one that waits for nothing."""
        wants, limit, rate = step.resources, step.concurrency_limit, step.rate_limit
        limits = [] if max_parallel is None else [run_limit(max_parallel)]
        if limit is not None:
            limits.append(key_limit(limit.group, limit.limit))
        if rate is not None:
            key = f"key:{rate.key}" if rate.key else f"agent:{step.agent}"
            limits += [rate_limit(key, *rate_of(text)) for text in rate.limits]
        agent_class = step.queue or queue_of(step.agent)
        return demand_text(wants.cpu, wants.memory, wants.pools, agent_class, self.demands, limits)

    def locks(self, declared: Mapping[str, LockMode], priority: int) -> str | None:
        """What `lock_admit.lua` reads: the priority, and mode and number of holders of each section, in one order."""
        most = {LockMode.READ: f"r{self.readers}", LockMode.WRITE: f"w{self.writers}"}
        texts = [f"{section}:{most[declared[section]]}" for section in sorted(declared)]
        return " ".join([str(priority), *texts]) if texts else None

    def barrier(self, group: GroupSpec, plan: Plan | None = None) -> BarrierSpec:
        """The barrier of a group, with every setting, and with what `plan` knows of how long its members take."""
        given, extending = group.barrier, self.timeouts.timeout_strategies.extend_timeout
        most = extending.max_extensions if given.max_extensions is None else given.max_extensions
        timeout = given.timeout
        if timeout is None:
            learned = (plan.steps[step].learned_seconds for step in group.steps) if plan and self.stretch else ()
            slowest = max((seconds for seconds in learned if seconds is not None), default=0.0)
            timeout = max(self.timeouts.default_timeout, PATIENCE * slowest)
        return given.model_copy(
            update={
                "timeout": timeout * (len(group.steps) if self.sequential else 1),
                "extension": min(given.extension or extending.extension, extending.extension),
                "max_extensions": most,
            }
        )


DOCUMENTED = Shape()
"""The form of runs where no setting says otherwise."""
