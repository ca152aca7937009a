"""The process in which templates are rendered: bounded in memory, killed when it takes too long.

Run as a script by `templates.py`, so that nothing but Jinja2 and the standard library is loaded. Requests and replies
are JSON behind their length in eight bytes, on standard input and output. It ends by itself when nobody asks.
"""

from __future__ import annotations

import json
import os
import resource
import select
import sys
from functools import cache, partial
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateError, TemplateNotFound
from jinja2.loaders import split_template_path
from jinja2.sandbox import ImmutableSandboxedEnvironment

LENGTH = 8
IDLE_SECONDS = 60.0
PAGE = os.sysconf("SC_PAGE_SIZE")


class DeclaredFolders(BaseLoader):
    """Files below some folders, and nothing that leads out of them, by whatever name or link."""

    def __init__(self, folders: tuple[str, ...]) -> None:
        self._folders = folders

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Any]:
        parts = split_template_path(template)
        for folder in self._folders:
            path = os.path.join(folder, *parts)
            if not os.path.isfile(path):
                continue
            root = os.path.realpath(folder)
            if os.path.commonpath((root, os.path.realpath(path))) != root:
                raise TemplateNotFound(template, f"'{template}' leads out of the folder of templates")
            since = os.stat(path).st_mtime_ns
            with open(path, encoding="utf-8") as file:
                return file.read(), path, partial(is_as_since, path, since)
        raise TemplateNotFound(template)


def is_as_since(path: str, since: int) -> bool:
    """Whether a file has not changed."""
    try:
        return os.stat(path).st_mtime_ns == since
    except OSError:
        return False


@cache
def environment(folders: tuple[str, ...]) -> ImmutableSandboxedEnvironment:
    """Jinja2, locked down: it can neither reach nor change Python objects, and an undefined variable is an error."""
    return ImmutableSandboxedEnvironment(
        loader=DeclaredFolders(folders),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # agents write source code and Markdown, not web pages
    )


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """`text`, or `error`. A request with `warm` loads these templates, as far as there are such."""
    jinja = environment(tuple(request["folders"]))
    for name in request.get("warm", ()):
        try:
            jinja.get_template(name)
        except TemplateError:
            continue
    if "template" not in request:
        return {}
    try:
        found, size = [], 0
        for part in jinja.get_template(request["template"]).generate(request["variables"]):
            size += len(part)
            if size > request["limit"]:
                return {"error": f"its text has more than the {request['limit']:,} characters allowed"}
            found.append(part)
        return {"text": "".join(found)}
    except MemoryError:
        raise
    except RecursionError:
        return {"error": "RecursionError: it includes or calls itself without end"}
    except Exception as error:  # noqa: BLE001 - whatever a template does wrong is its failure
        return {"error": f"{type(error).__name__}: {error}"}


def bound_memory(more: int) -> None:
    """No more than so many bytes beyond what this process has now."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        has = int(statm.read().split()[0]) * PAGE
    resource.setrlimit(resource.RLIMIT_AS, (has + more, has + more))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def read(pipe: int, size: int) -> bytes:
    """So many bytes, or fewer at the end. Not buffered: what has come is for `select` to see."""
    parts = []
    while size and (part := os.read(pipe, min(size, 1 << 20))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def serve(asked: int, told: int, memory: int) -> None:
    """Answer until nobody asks any more, or memory has run out once."""
    bound_memory(memory)
    ended = False
    while not ended and select.select([asked], [], [], IDLE_SECONDS)[0]:
        length = read(asked, LENGTH)
        if len(length) < LENGTH:
            return
        try:
            reply = answer(json.loads(read(asked, int.from_bytes(length, "big"))))
            text = json.dumps(reply).encode()
        except MemoryError:
            ended = True
            text = json.dumps({"error": f"it needs more than {memory // 1_000_000} MB of memory"}).encode()
        left = memoryview(len(text).to_bytes(LENGTH, "big") + text)
        while left:
            left = left[os.write(told, left) :]


if __name__ == "__main__":
    serve(sys.stdin.fileno(), sys.stdout.fileno(), int(sys.argv[1]))
