"""What of a value is shown: nothing under a name that the settings mask, and no more than so many bytes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from fnmatch import translate
from typing import Any

from orchestrator.views.models import Shown

HIDDEN = "***"
SHOWN_BYTES = 16_000
WHOLE = 1_000_000_000
"""A limit for values that are shown whole."""


class Mask:
    """The rule: which names hide what is below them. `names` are patterns in which `*` stands for anything; `-` and `_`
    are the same in a name, and so are upper and lower case."""

    def __init__(self, names: Iterable[str]) -> None:
        patterns = [translate(name.lower().replace("-", "_")) for name in names]
        self._matches = re.compile("|".join(patterns)).match if patterns else None
        self._known: dict[str, bool] = {}

    def hides(self, name: str) -> bool:
        """Whether a value of that name is not shown."""
        if self._matches is None:
            return False
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._matches(name.lower().replace("-", "_")) is not None
        return known

    def hides_file(self, name: str) -> bool:
        """Whether an artifact of that name is not shown: a folder of it, or what stands between its dots, is masked."""
        return any(map(self.hides, re.split(r"[/.]", name)))

    def value(self, value: Any) -> Any:
        """The JSON value with every masked part replaced."""
        if self._matches is None:
            return value
        if type(value) is dict:
            return {name: HIDDEN if self.hides(name) else self.value(item) for name, item in value.items()}
        return [self.value(item) for item in value] if type(value) is list else value

    def shown(self, path: str, value: Any, *, limit: int = SHOWN_BYTES) -> Shown:
        """A value at a dotted path, masked and cut to `limit` bytes of JSON."""
        masked = HIDDEN if any(self.hides(name) for name in path.split(".")) else self.value(value)
        text = json.dumps(masked, ensure_ascii=False)
        size = len(text.encode(errors="replace"))
        return Shown(value=masked, bytes=size) if size <= limit else Shown(bytes=size, beginning=text[:limit])
