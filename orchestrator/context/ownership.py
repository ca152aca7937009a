"""Who may read and write what: the lists of a step, the declaration of its agent, the sections that agents own.

A step owns its own namespace `<step id>.*`, its agent the shared sections that ownership_rules give it; the lists of
the step narrow those of the agent. What nobody declares is open for reading; for writing, so are sections that nobody
owns. Everything here is a pure check of paths such as `pm.user_stories`, whose first name is a step id or a section.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from orchestrator.errors import OwnershipError
from orchestrator.fields import Frozen

if TYPE_CHECKING:
    from orchestrator.workflow.models import StepSpec

Paths = tuple[str, ...]


class Access(Frozen, defer_build=False):  # every step needs it: before children are forked
    """What one step may touch. None for a list means that it was not declared.

    `reads` and `writes` are the step's lists, `agent_reads` and `agent_writes` those of its agent's declaration; a
    write list names keys of the step's own namespace (`ui_spec`, `ux_expert.ui_spec`) or shared sections
    (`requirements`). `inputs` are workflow inputs and the step's declared data, which it may always read. `word` is
    its context_access, if the read list came from there. `owners` maps each owned section to its agent.
    """

    step: str
    agent: str
    reads: Paths | None = None
    writes: Paths | None = None
    agent_reads: Paths | None = None
    agent_writes: Paths | None = None
    inputs: Paths = ()
    word: str = ""
    owners: Mapping[str, str] = Field(default_factory=dict)

    @classmethod
    def of(
        cls,
        step: StepSpec,
        *,
        owners: Mapping[str, str],
        inputs: Iterable[str] = (),
        agent_reads: Iterable[str] | None = None,
        agent_writes: Iterable[str] | None = None,
        steps_of: Callable[[str], Sequence[str]] | None = None,
    ) -> Access:
        """The access of a step as its workflow, its agent and the engine file (`EngineSettings.owners`) declare it.

        Agents declare what they read by the names of agents; `steps_of` tells the steps of an agent, where their ids
        are others.
        """
        reads = step.context.read
        # The words only name whole steps: a list with anything else in it was written by hand.
        from_word = step.context_access is not None and reads is not None and not any("." in path for path in reads)
        return cls(
            step=step.id,
            agent=step.agent,
            reads=reads,
            writes=step.context.write,
            agent_reads=None if agent_reads is None else _by_step(agent_reads, steps_of),
            agent_writes=None if agent_writes is None else tuple(agent_writes),
            inputs=tuple(dict.fromkeys((*inputs, *step.inputs))),
            word=(step.context_access or "") if from_word else "",
            owners=owners,
        )

    def to_json(self) -> dict[str, Any]:
        """A small document for the definition of the step; what is not declared is left out, and so are the names of
        the step and its agent, and the owners, which are the same for a whole run."""
        return self.model_dump(mode="json", exclude_defaults=True, exclude={"step", "agent", "owners"})

    @classmethod
    def from_json(cls, row: Mapping[str, Any], *, step: str, agent: str, owners: Mapping[str, str]) -> Access:
        """The inverse of `to_json`."""
        return cls.model_validate({**row, "step": step, "agent": agent, "owners": owners})

    def may_read(self, path: str) -> None:
        """Raises OwnershipError, naming the rule, if the step may not read the path."""
        if path.split(".", maxsplit=1)[0] == self.step or _within(path, self.inputs):
            return
        if self.reads is not None and not _within(path, self.reads):
            rule = f"context_access '{self.word}'" if self.word else "context.read"
            raise self._refused("read", path, f"{_only('read', self.reads)} ({rule} of step '{self.step}')")
        if self.agent_reads is not None and not _within(path, self.agent_reads):
            raise self._refused("read", path, f"{_only('read', self.agent_reads)} (reads of agent '{self.agent}')")

    def can_read(self, path: str) -> bool:
        """Whether the step may read the path, for agents that do without."""
        try:
            self.may_read(path)
        except OwnershipError:
            return False
        return True

    def may_write(self, path: str, *, is_step: Callable[[str], bool] | None = None) -> None:
        """Raises OwnershipError, naming the rule, if the step may not write the path.

        `is_step` tells whether a name is the id of a step of the run; it is asked for sections that nobody owns.
        """
        section = path.split(".", maxsplit=1)[0]
        if section != self.step:
            owner = self.owners.get(section)
            if owner is not None and owner != self.agent:
                raise self._refused("write", path, f"section '{section}' belongs to agent '{owner}' (ownership_rules)")
            if owner is None and is_step is not None and is_step(section):
                raise self._refused("write", path, f"'{section}.*' belongs to step '{section}' (its own namespace)")
        if self.writes is not None and not _within(path, self._absolute(self.writes)):
            rule = f"context.write of step '{self.step}'"
            raise self._refused("write", path, f"{_only('write', self.writes)} ({rule})")
        if self.agent_writes is not None and not self._declared_by_agent(path):
            rule = f"writes of agent '{self.agent}'"
            raise self._refused("write", path, f"{_only('write', self.agent_writes)} ({rule})")

    @property
    def place(self) -> str | None:
        """The one key of its namespace under which the step's whole result is kept, if its write list names one."""
        if self.writes is None or len(self.writes) != 1:
            return None
        path = self.writes[0].removeprefix(f"{self.step}.")
        return None if "." in path or path in self.owners else path

    def absolute(self, path: str) -> str:
        """Where a step writes when it says `path`: a single name is a section that its agent owns, or else a key of
        the step's own namespace."""
        return path if "." in path or self.owners.get(path) == self.agent else f"{self.step}.{path}"

    def _absolute(self, paths: Iterable[str]) -> Paths:
        """Write lists name keys and sections alike; one name is both."""
        return tuple(name for path in paths for name in (path, f"{self.step}.{path}"))

    def _declared_by_agent(self, path: str) -> bool:
        """An agent knows nothing of the place where the step puts its result."""
        prefix = f"{self.step}.{self.place}"
        if self.place is not None and _within(path, (prefix,)):
            path = f"{self.step}{path.removeprefix(prefix)}"
        return path == self.step or _within(path, self._absolute(self.agent_writes or ()))

    def _refused(self, verb: str, path: str, why: str) -> OwnershipError:
        return OwnershipError(f"step '{self.step}' may not {verb} '{path}': {why}")


def _by_step(paths: Iterable[str], steps_of: Callable[[str], Sequence[str]] | None) -> Paths:
    found: list[str] = []
    for path in paths:
        name, dot, rest = path.partition(".")
        steps = () if steps_of is None else steps_of(name)
        found += [path, *(f"{step}{dot}{rest}" for step in steps)]
    return tuple(dict.fromkeys(found))


def _within(path: str, allowed: Iterable[str]) -> bool:
    return any(path == one or path.startswith(f"{one}.") for one in allowed)


def _only(verb: str, paths: Sequence[str]) -> str:
    shown = ", ".join(paths[:8]) + (f" and {len(paths) - 8} more" if len(paths) > 8 else "")
    nothing = "nothing of others" if verb == "read" else "nothing"
    return f"it may {verb} only {shown}" if paths else f"it may {verb} {nothing}"
