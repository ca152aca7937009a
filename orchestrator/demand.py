"""What a step takes of the deployment's pools while it runs, as one short text.

Blank-separated items, sorted: `cpu=30000` takes thousandths of a pool's unit, `key:deploy=1000/2000` those
of a limit that the step brings along, `@agent:pm=10/60000` one of 10 tokens that come back within 60,000 ms.
Steps with equal texts fit, or do not fit, together: admission keeps one queue for each text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

MILLI = 1000
"""Pools are counted in whole thousandths of a unit: sums of floats would drift."""
UNBOUNDED = 2**50
AGENTS, CPU, MEMORY = "agents", "cpu", "memory"
RUN_PLACE = "{run}"
"""Stands for the id of the run in the name of a limit; no other text of ours has braces."""

PLACE = re.compile(r"\{inputs\.[A-Za-z0-9_.-]+\}")
"""Stands in the name of a limit, or in a fairness key, for an input of the run."""

Pairs = tuple[tuple[str, float], ...]


class DemandRules(Struct, frozen=True):
    """What turns a step's resources into a demand: the word tables, and the agent classes with a limit of their own."""

    cpu_words: Pairs = ()
    memory_words: Pairs = ()
    limited_classes: frozenset[str] = frozenset()


def pool_name(name: str) -> str:
    """How a pool that a deployment names is called among cpu, memory, agents and the limits."""
    return f"pool:{name}"


def class_name(agent_class: str) -> str:
    """The limit of an agent class."""
    return f"class:{agent_class}"


def demand_text(
    cpu: float | str,
    memory: float | str,
    pools: Mapping[str, float],
    agent_class: str,
    rules: DemandRules,
    limits: Iterable[str] = (),
) -> str:
    """The demand of a step, empty for one that waits for nothing; cpu and memory in units or words, `limits` as items.
    A step that takes cpu or memory is one of the concurrent agents."""
    taken = {CPU: milli(_units(cpu, rules.cpu_words)), MEMORY: milli(_units(memory, rules.memory_words))}
    taken[AGENTS] = MILLI if any(taken.values()) else 0
    taken |= {pool_name(name): milli(amount) for name, amount in pools.items()}
    if agent_class in rules.limited_classes:
        taken[class_name(agent_class)] = MILLI
    return " ".join(sorted((*(f"{name}={amount}" for name, amount in taken.items() if amount), *limits)))


def run_limit(most: int) -> str:
    """The item of a run of which `most` steps may run at a time."""
    return f"run:{RUN_PLACE}={MILLI}/{most * MILLI}"


def key_limit(group: str, most: int) -> str:
    """The item of a step of a group of which `most` may run at a time. It may have places for inputs."""
    return f"key:{_quoted_around(group)}={MILLI}/{most * MILLI}"


def rate_limit(key: str, count: int, period: int) -> str:
    """The item of a token, of `count` that come back within `period` ms. The key may have places for inputs."""
    return f"@{_quoted_around(key)}={count}/{period}"


def _quoted_around(text: str) -> str:
    """A text as part of an item's name, in which places stay what they are."""
    return "".join(part if PLACE.fullmatch(part) else quoted(part) for part in re.split(f"({PLACE.pattern})", text))


def fill_places(text: str, inputs: Mapping[str, str]) -> str:
    """Put a run's inputs into their places. Raises KeyError with the name of one that is not there."""
    return PLACE.sub(lambda found: quoted(inputs[found[0][len("{inputs.") : -1]]), text)


def _units(amount: float | str, words: Pairs) -> float:
    return dict(words).get(amount, 0.0) if isinstance(amount, str) else amount


def milli(units: float) -> int:
    """Whole thousandths, of what is there at least one: nothing is so small that it costs nothing."""
    return max(1, round(units * MILLI)) if units else 0


def quoted(text: str) -> str:
    """A text as part of an item's name."""
    return quote(text, safe=":-_.")


def capacities(units: Mapping[str, float]) -> dict[str, int]:
    """Capacities in thousandths; an infinite one is UNBOUNDED."""
    return {name: UNBOUNDED if amount == float("inf") else milli(amount) for name, amount in units.items()}


class Take(Struct, frozen=True):
    """`amount` thousandths of what there are `most` of. `shared`: of a pool of the deployment, not of a limit that the
    step brings along."""

    name: str
    amount: int
    most: int
    shared: bool


class Rate(Struct, frozen=True):
    """One token of `count` that come back within `period` (ms)."""

    name: str
    count: int
    period: int


class Demand(Struct, frozen=True):
    """A demand, read."""

    takes: tuple[Take, ...] = ()
    rates: tuple[Rate, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (*(take.name for take in self.takes), *(rate.name for rate in self.rates))


def parse_demand(text: str, capacity: Mapping[str, int]) -> Demand:
    """Read the text of a demand. `capacity` are the thousandths of the deployment's pools; one that is not there has
    nothing."""
    takes, rates = [], []
    for item in text.split():
        name, _, amounts = item.partition("=")
        amount, _, limit = amounts.partition("/")
        if name.startswith("@"):
            rates.append(Rate(name, int(amount), int(limit)))
        else:
            takes.append(Take(name, int(amount), int(limit) if limit else capacity.get(name, 0), not limit))
    return Demand(tuple(takes), tuple(rates))


def together(demands: Sequence[str], capacity: Mapping[str, int]) -> str:
    """The demand of several at once; empty when they can never be: there is not so much, or a limit that they share
    lets in fewer. A token is nothing that is held, so that whoever needs one comes alone."""
    takes: dict[str, Take] = {}
    for demand in (parse_demand(text, capacity) for text in demands):
        if demand.rates:
            return ""
        for take in demand.takes:
            before = takes.get(take.name, replace(take, amount=0))
            takes[take.name] = replace(take, amount=before.amount + take.amount, most=min(before.most, take.most))
    if any(take.amount > take.most for take in takes.values()):
        return ""
    return " ".join(f"{name}={one.amount}{'' if one.shared else f'/{one.most}'}" for name, one in sorted(takes.items()))
