"""Field types and the base model that workflow definitions and settings have in common."""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from orchestrator import units

M = TypeVar("M", bound=BaseModel)


class Frozen(BaseModel):
    """Base of every model: immutable, and a key that it does not know is an error. Its schema is made on first use.

    Modules of many models do without `from __future__ import annotations`: what that turns into text, pydantic compiles
    again, field by field, at every start."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False, defer_build=True
    )


def shared_default(model: type[M], **values: object) -> M:
    """The default of a field that is a model: made when it is first asked for, and one for all, as nobody changes it.
    An instance in the class body would have its schema made at import, apart from the one that it is a part of."""

    @cache
    def made() -> M:
        return model(**values)

    default: M = Field(default_factory=made)
    return default


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is no number")
    return value


Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""Letters, digits, `_` and `-`; 1 to 64 characters."""

ContextPath = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,15}$", max_length=256)
]
"""A dotted way into the context: `pm`, `pm.user_stories`, `requirements.functional`."""

Seconds = Annotated[float, BeforeValidator(units.parse_duration), Field(gt=0, allow_inf_nan=False)]
"""A duration above zero in any notation of `units.parse_duration`, kept as seconds."""

SecondsOrNone = Annotated[float, BeforeValidator(units.parse_duration), Field(ge=0, allow_inf_nan=False)]
"""A duration of which 0 has a meaning of its own, such as "keep for ever"."""

Size = Annotated[int, BeforeValidator(units.parse_size), Field(gt=0)]
"""A size above zero in any notation of `units.parse_size`, kept as bytes."""

SizeOrNone = Annotated[int, BeforeValidator(units.parse_size), Field(ge=0)]
"""A size of which 0 means that there is nothing of it."""

Count = Annotated[int, BeforeValidator(_no_boolean), Field(ge=0)]
"""A whole number from 0."""

PositiveCount = Annotated[int, BeforeValidator(_no_boolean), Field(ge=1)]
"""A whole number from 1."""

Number = Annotated[float, BeforeValidator(_no_boolean), Field(ge=0, allow_inf_nan=False)]
"""A finite number from 0."""

PositiveNumber = Annotated[float, BeforeValidator(_no_boolean), Field(gt=0, allow_inf_nan=False)]
"""A finite number above 0."""


_CRON = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 6))
_CRON_PART = re.compile(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/([1-9]\d?))?")


def _cron(value: str) -> str:
    """Five fields of numbers, as crontab(5) has them."""
    fields = value.split()
    if len(fields) != len(_CRON):
        raise ValueError(f"{len(fields)} fields; write five: minute, hour, day of the month, month, day of the week")
    for text, (name, least, most) in zip(fields, _CRON, strict=True):
        for part in text.split(","):
            found = _CRON_PART.fullmatch(part)
            numbers = [int(number) for number in found.groups()[:2] if number] if found else [-1]
            if any(not least <= number <= most for number in numbers) or numbers != sorted(numbers):
                raise ValueError(f"'{part}' is no {name}; write *, {least} to {most}, or such as 1,3 or 1-5 or */2")
    return " ".join(fields)


Cron = Annotated[str, AfterValidator(_cron)]
"""When something is due, in crontab's five fields (crontab(5)), numbers only: `30 3 * * 1-5`. Sunday is 0."""

Priority = Annotated[int, BeforeValidator(_no_boolean), Field(ge=0, le=10)]
"""0 to 10, higher is sooner."""
