"""How artifacts are written: JSON with stable layout, and brief text made safe for tables and diagrams."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import BaseModel


def to_json(value: BaseModel | Any) -> str:
    """A value as indented JSON with a final newline."""
    plain = value.model_dump(mode="json", by_alias=True) if isinstance(value, BaseModel) else value
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def label(text: str, limit: int = 60) -> str:
    """Text for a node or step of a Mermaid diagram: quotes, brackets and separators would end the node early."""
    plain = re.sub(r"[\"`<>{}\[\]()|;:&\\%]+", " ", text)
    line = " ".join(plain.replace("'", "’").split())
    return (line if len(line) <= limit else line[: limit - 1].rsplit(" ", 1)[0] + "…") or "?"
