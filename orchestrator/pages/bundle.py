"""ES modules joined into one script, for a page that stands alone: each becomes a function that gives its exports."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

STATIC = Path(__file__).parent / "static"
"""Folder of everything that browsers fetch."""

DAGRE = "vendor/dagre-3.1.3.min.js"
"""The layout of graphs: @dagrejs/dagre from npm, unchanged but for its source map; a classic script."""

_IMPORT = re.compile(r'^import \{ ([^}]+) \} from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class) (\w+))", re.MULTILINE)


def bundle(entry: str) -> str:
    """The module `entry` (its name without `.js`) with all that it imports. Modules say `import { a, b } from
    "./x.js"` on one line and export where they declare; anything else that is an import or export raises ValueError."""
    parts: dict[str, str] = {}
    _add(entry, parts)
    return "\n".join(parts.values())


def _add(name: str, parts: dict[str, str]) -> None:
    source = (STATIC / f"{name}.js").read_text()
    for _, wanted in _IMPORT.findall(source):
        if wanted not in parts:
            _add(wanted, parts)
    exports = _EXPORT.findall(source)
    text = _EXPORT.sub("", _IMPORT.sub(r"const { \1 } = $\2;", source))
    if re.search(r"^(import|export)\b", text, re.MULTILINE):
        raise ValueError(f"{name}.js imports or exports in a form that cannot be joined")
    parts[name] = f"const ${name} = (() => {{\n{text}\nreturn {{ {', '.join(exports)} }};\n}})();"


def source_hash(text: str) -> str:
    """What a Content-Security-Policy lists to allow exactly this inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def embedded_json(value: Any) -> str:
    """JSON that can stand inside a script element, whatever texts are in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
