"""Texts of the context as they lie in Redis."""

from __future__ import annotations

from orchestrator import packing
from orchestrator.errors import CorruptValue


def pack(text: str) -> bytes:
    """The bytes to store, compressed if that is worth it."""
    return packing.pack(text.encode())


def unpack(data: bytes, key: str, *, limit: int) -> str:
    """The text again. Raises CorruptValue as `packing.unpack`, and for what is no text."""
    body = packing.unpack(data, key, limit=limit)
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise CorruptValue(f"the value at '{key}' is damaged: {error}") from error
