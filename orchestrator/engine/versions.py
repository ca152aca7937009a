"""What stands for an agent's version when it declares none: a hash of the code that it may consist of."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any


def version_of(function: Callable[..., Any], templates: tuple[Path, ...]) -> str | None:
    """A hash of every .py file of the package in which a function is defined, from the topmost one on, and of all
    templates. More than the function can depend on, but for what is installed beside; None when there is no file.
    Each process looks once."""
    return _version(function.__module__.partition(".")[0], templates)


@cache
def _version(package: str, templates: tuple[Path, ...]) -> str | None:
    sources = list(_sources(package))
    return digest_of([*sources, *_files(templates, "*")]) if sources else None


def digest_of(files: Iterable[Path]) -> str:
    """One hash of the names and contents of files."""
    digest = hashlib.blake2b(digest_size=16)
    for path in files:
        digest.update(f"{path}\0".encode())
        digest.update(hashlib.blake2b(path.read_bytes(), digest_size=16).digest())
    return digest.hexdigest()


def _sources(package: str) -> Iterator[Path]:
    module = sys.modules.get(package)
    folders = getattr(module, "__path__", None)
    if folders is not None:
        yield from _files(map(Path, folders), "*.py")
    elif getattr(module, "__file__", None):
        yield Path(str(getattr(module, "__file__", "")))


def _files(folders: Iterable[Path], pattern: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(path for path in folder.rglob(pattern) if path.is_file())
