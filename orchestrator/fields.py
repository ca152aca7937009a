"""Field types and the base model that workflow definitions and settings have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from orchestrator import units


class Frozen(BaseModel):
    """Base of every model: immutable, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)


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

Count = Annotated[int, BeforeValidator(_no_boolean), Field(ge=0)]
"""A whole number from 0."""

PositiveCount = Annotated[int, BeforeValidator(_no_boolean), Field(ge=1)]
"""A whole number from 1."""

Number = Annotated[float, BeforeValidator(_no_boolean), Field(ge=0, allow_inf_nan=False)]
"""A finite number from 0."""

PositiveNumber = Annotated[float, BeforeValidator(_no_boolean), Field(gt=0, allow_inf_nan=False)]
"""A finite number above 0."""

Priority = Annotated[int, BeforeValidator(_no_boolean), Field(ge=0, le=10)]
"""0 to 10, higher is sooner."""
