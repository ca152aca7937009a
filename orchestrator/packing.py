"""How values lie in Redis: one leading byte tells whether what follows is the value itself or an LZ4 frame of it."""

from __future__ import annotations

import lz4.frame

from orchestrator.errors import CorruptValue

PLAIN = b"\0"
COMPRESSED = b"\1"
COMPRESS_ABOVE = 10_000
"""Bytes up to which compression is not worth its time."""
WORTH_IT = 0.7
"""The share of its size to which a value has to shrink."""


def pack(data: bytes, *, above: int = COMPRESS_ABOVE) -> bytes:
    """The bytes to store. What has more than `above` bytes is compressed, if that is worth it; the frame holds its size
    and a checksum, so that damage is noticed."""
    if len(data) > above:
        frame: bytes = lz4.frame.compress(data, store_size=True, content_checksum=True)
        if len(frame) <= WORTH_IT * len(data):
            return COMPRESSED + frame
    return PLAIN + data


def unpack(data: bytes, key: str, *, limit: int) -> bytes:
    """The value again. Raises CorruptValue, naming `key`, for bytes that `pack` did not make or that were damaged, and
    for values of more than `limit` bytes, of which it never unfolds more."""
    if data[:1] == COMPRESSED:
        body = _decompress(data[1:], key, limit)
    elif data[:1] == PLAIN:
        body = data[1:]
    else:
        found = f"its first byte is {data[0]}" if data else "it is empty"
        raise CorruptValue(f"the value at '{key}' is damaged: {found}, where 0 or 1 is expected")
    if len(body) > limit:
        raise CorruptValue(f"the value at '{key}' has more than the {limit:,} bytes allowed")
    return body


def _decompress(frame: bytes, key: str, limit: int) -> bytes:
    decompressor = lz4.frame.LZ4FrameDecompressor()
    try:
        # The size in the header is a claim: what is unfolded stays below the limit, whatever it says.
        claimed: int = lz4.frame.get_frame_info(frame)["content_size"]
        if claimed > limit:
            raise CorruptValue(f"the value at '{key}' has {claimed:,} bytes; at most {limit:,} are allowed")
        body: bytes = decompressor.decompress(frame, max_length=(claimed or limit) + 1)
    except (RuntimeError, EOFError, ValueError, MemoryError) as error:
        raise CorruptValue(f"the value at '{key}' is damaged: {error}") from error
    if len(body) > limit:
        raise CorruptValue(f"the value at '{key}' has more than the {limit:,} bytes allowed")
    if not decompressor.eof:
        raise CorruptValue(f"the value at '{key}' is damaged: its frame ends too early")
    if decompressor.unused_data:
        raise CorruptValue(f"the value at '{key}' is damaged: its frame is followed by other bytes")
    return body
