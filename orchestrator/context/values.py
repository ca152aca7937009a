"""Values of the context: JSON documents, refused when they are anything else or too large."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.errors import InvalidValue


def encode(value: Any, *, limit: int, what: str) -> str:
    """The JSON text of a value. Raises InvalidValue, naming `what`, for values that are no JSON or exceed `limit`
    bytes."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValue(f"{what} is no JSON document: {error}") from error
    if size > limit:
        raise InvalidValue(f"{what} has {size:,} bytes; at most {limit:,} are kept in the context")
    return text
