"""What bounds how many steps run at a time, or begin within a time, beside the pools of the deployment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, StringConstraints

from orchestrator.demand import PLACE
from orchestrator.fields import Frozen, PositiveCount
from orchestrator.units import parse_duration

_RATE = re.compile(r"([1-9][0-9]{0,6})/([0-9.]*(?:s|m|h|d))")


def _places(text: str) -> str:
    rest = PLACE.sub("", text)
    if "{" in rest or "}" in rest:
        raise ValueError(f"{text!r} has a place that is none; write {{inputs.NAME}} for an input of the run")
    return text


Named = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_places)]
"""A name that may depend on the inputs of the run: `deploy`, `tenant-{inputs.tenant}`."""


def _rate(text: str) -> str:
    if not _RATE.fullmatch(text):
        raise ValueError(f"{text!r} is no rate; write a count and a time, such as 10/m, 2/s or 100/15m")
    return text


Rate = Annotated[str, AfterValidator(_rate)]


def rate_of(text: str) -> tuple[int, int]:
    """Count and ms of a rate: `10/m` -> (10, 60000). Raises AttributeError for what is none."""
    found = _RATE.fullmatch(text)
    count, time = found.groups()  # type: ignore[union-attr]
    return int(count), round(parse_duration(time if time[0].isdigit() else f"1{time}") * 1000)


class ConcurrencyLimit(Frozen):
    """At most `limit` steps of the `group` run at a time, over all runs of the deployment. One more waits (`queue`), is
    skipped (`skip`), or waits while the runs are cancelled that are before it (`cancel_running`)."""

    group: Named
    limit: PositiveCount = 1
    on_conflict: Literal["queue", "skip", "cancel_running"] = "queue"


def _some(rates: tuple[str, ...]) -> tuple[str, ...]:
    if not rates:
        raise ValueError("no rate is given; write one such as 10/m")
    return rates


class RateLimit(Frozen):
    """Steps begin no faster than all of `limits` allow, over all workers: a bucket of so many tokens that comes back
    evenly within the time. Steps with one `key` (without any, those of one agent) share the buckets of equal limits."""

    limits: Annotated[tuple[Rate, ...], AfterValidator(_some)]
    key: Named | None = None


def _rate_limit(value: object) -> object:
    if isinstance(value, RateLimit | Mapping):
        return value
    return {"limits": [value] if isinstance(value, str) else value}


RateLimits = Annotated[RateLimit, BeforeValidator(_rate_limit)]
"""One rate, a list of them, or a mapping with a key."""
