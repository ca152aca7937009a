"""How values lie in a cache: a checksum, then the value, compressed where that is worth it."""

from __future__ import annotations

import hashlib

from orchestrator import packing
from orchestrator.errors import CorruptValue

_DIGEST = 8
MAX_BYTES = 256_000_000
"""Nothing larger is ever unpacked, whatever the header of a compressed value says."""


def pack(value: bytes, *, above: int) -> bytes:
    """The bytes to store; values above `above` bytes are compressed if that makes them 30 % smaller."""
    packed = packing.pack(value, above=above)
    return _checksum(packed) + packed


def unpack(stored: bytes, key: str) -> bytes:
    """The value again. Raises CorruptValue, naming `key`, for what is not what was stored."""
    packed = stored[_DIGEST:]
    if stored[:_DIGEST] != _checksum(packed):
        raise CorruptValue(f"the cached value '{key}' is damaged: its checksum is another one")
    return packing.unpack(packed, key, limit=MAX_BYTES)


def _checksum(packed: bytes) -> bytes:
    return hashlib.blake2b(packed, digest_size=_DIGEST).digest()
