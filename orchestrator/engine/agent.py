"""What an agent is: a plain callable with a name, registered for the workers of a deployment."""

from __future__ import annotations

import asyncio
import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from orchestrator.barrier.validation import ValidationResult
from orchestrator.context.values import canonical
from orchestrator.engine.agent_context import AgentContext
from orchestrator.engine.schemas import declare
from orchestrator.errors import AgentError, InvalidValue, NotFound, OrchestratorError

DEFAULTS_BYTES = 1_000_000

REGISTRY: dict[str, Agent] = {}
"""The agents that this process knows, by name; filled by importing the modules that declare them."""


@dataclass(frozen=True, slots=True)
class Agent:
    """A registered agent.

    `reads` and `writes` are context paths (None: open), `defaults` what a barrier may fill in for the agent,
    `output` the model that its result must match, `queue` its agent class (one queue `agents.<class>` each),
    `cache` whether its earlier results may stand for new ones, or how old (seconds) those may be, and `version` what
    tells its results from those of other code (None: a hash of its code). `validate` looks at the work of others when
    a group is cross-validated.
    """

    name: str
    function: Callable[..., Any] = field(repr=False)
    reads: tuple[str, ...] | None = None
    writes: tuple[str, ...] | None = None
    defaults: Mapping[str, Any] | None = None
    output: type[BaseModel] | None = None
    queue: str = ""
    version: str | None = None
    cache: bool | float = False
    validate: Callable[[AgentContext], Any] | None = field(default=None, repr=False)

    def __call__(self, ctx: AgentContext) -> dict[str, Any]:
        """Do the work in this process and return the output document. Raises what the function raises.

        A model result is dumped to JSON types, a coroutine is run to its end, None means no output.
        Raises InvalidValue when the result does not match `output`.
        """
        return self._document(self._called(self.function, ctx))

    def check(self, ctx: AgentContext) -> dict[str, Any]:
        """Look at what the steps in `ctx.validates` have written; a ValidationResult as JSON. An agent that has not
        said how it validates finds just that. Raises what `validate` raises, and InvalidValue for another result."""
        if self.validate is None:
            cannot = (f"agent '{self.name}' cannot validate: it declares no `validate`",)
            return ValidationResult(valid=False, findings=cannot).model_dump(mode="json")
        result = self._called(self.validate, ctx)
        try:
            return ValidationResult.model_validate(result).model_dump(mode="json")
        except ValidationError as error:
            raise InvalidValue(f"the validation by agent '{self.name}' gave no ValidationResult: {error}") from error

    def _called(self, function: Callable[[AgentContext], Any], ctx: AgentContext) -> Any:
        result = function(ctx)
        if type(result) is dict or not inspect.isawaitable(result):
            return result
        try:
            return asyncio.run(_finish(result))
        except asyncio.CancelledError as error:
            raise AgentError(f"agent '{self.name}' was cancelled from inside: {error!r}") from error

    def value(self, ctx: AgentContext) -> Any:
        """Do the work for one item of a mapped step: as a call, but what the function returns is the item's result as
        it is, and need not be a document. What it writes elsewhere is refused with AgentError."""
        result = _plain(self._checked(self._called(self.function, ctx)))
        if ctx.writes or ctx.shared or ctx.artifacts:
            raise AgentError(f"agent '{self.name}' wrote beside its result; an item of a mapped step only returns one")
        return result

    def _checked(self, result: Any) -> Any:
        if self.output is None or isinstance(result, self.output):
            return result
        try:
            return self.output.model_validate(result)
        except ValidationError as error:
            raise InvalidValue(f"agent '{self.name}' returned what does not match its output: {error}") from error

    def _document(self, result: Any) -> dict[str, Any]:
        result = _plain(self._checked(result))
        if result is None:
            return {}
        return result if isinstance(result, dict) else {"result": result}


_ATOMS = frozenset((str, int, float, bool))


async def _finish(awaitable: Any) -> Any:
    return await awaitable


def _plain(value: Any) -> Any:
    if value is None or type(value) in _ATOMS:
        return value
    if type(value) is not dict and isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def agent(
    name: str,
    *,
    reads: Sequence[str] | None = None,
    writes: Sequence[str] | None = None,
    defaults: Mapping[str, Any] | None = None,
    output: type[BaseModel] | None = None,
    queue: str | None = None,
    version: str | None = None,
    cache: bool | float = False,
    validate: Callable[[AgentContext], Any] | None = None,
    schemas: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Any]], Agent]:
    """Register a function `(ctx: AgentContext) -> dict | model | None` as an agent of this name.

    With `cache` its work is done once for the same parameters and the same content of whatever it reads through `ctx`
    (a number: results older than so many seconds do not count): only for agents whose results follow from that. The
    `version` is for you to change with the code; without one, any change of a .py file of its package, or of a
    template, makes new results.

    `validate(ctx)` is called instead when the agent checks the others of its group (`cross_validation`): it reads what
    the steps in `ctx.validates` have written (its own step is `ctx.validates_as`) and returns a ValidationResult, or
    `{"valid": bool, "findings": [str, ...]}`. Both may be coroutine functions. `schemas` maps fields of shared sections
    (`requirements.functional`) to types: whoever writes there, what is committed, merged or not, is of that type. A
    second agent of the same name from another place is an error, and so are defaults that are no JSON document.
    """

    def register(function: Callable[..., Any]) -> Agent:
        if defaults is not None:
            canonical(defaults, limit=DEFAULTS_BYTES, what=f"the defaults of agent '{name}'")
        known = REGISTRY.get(name)
        if known is not None and _place(known.function) != _place(function):
            raise OrchestratorError(f"two agents are called '{name}': {_place(known.function)}, {_place(function)}")
        declare(name, schemas or {})
        declared = Agent(
            name=name,
            function=function,
            reads=None if reads is None else tuple(reads),
            writes=None if writes is None else tuple(writes),
            defaults=defaults,
            output=output,
            queue=queue or name,
            version=version,
            cache=cache,
            validate=validate,
        )
        REGISTRY[name] = declared
        return declared

    return register


def _place(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def find_agent(name: str) -> Agent:
    """The registered agent of that name. Raises NotFound with a suggestion."""
    found = REGISTRY.get(name)
    if found is None:
        close = difflib.get_close_matches(name, REGISTRY, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise NotFound(f"no agent is called '{name}' here{hint}")
    return found
