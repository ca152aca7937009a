"""What lies in Redis: compressed where that pays, and damage of any kind is an error that names the key."""

from __future__ import annotations

import os
import random
import resource
import struct
import sys

import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.context.codec import pack, unpack
from orchestrator.errors import AgentError, CorruptValue
from orchestrator.packing import COMPRESS_ABOVE, COMPRESSED, PLAIN

LIMIT = 8_000_000
KEY = "pm.user_stories"
REPETITIVE = '{"text":"' + "the same words again and again, " * 1_000 + '"}'


def incompressible(size: int) -> str:
    return random.Random(7).randbytes(size // 2).hex()[:size]


def damage(data: bytes, limit: int = LIMIT) -> str:
    with pytest.raises(CorruptValue) as caught:
        unpack(data, KEY, limit=limit)
    assert isinstance(caught.value, AgentError)
    assert str(caught.value).startswith(f"the value at '{KEY}' ")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("", PLAIN),
        ("{}", PLAIN),
        ("ö\0€😀", PLAIN),
        ("x" * COMPRESS_ABOVE, PLAIN),
        ("x" * (COMPRESS_ABOVE + 1), COMPRESSED),
        ("ö" * (COMPRESS_ABOVE // 2), PLAIN),
        ("ö" * (COMPRESS_ABOVE // 2 + 1), COMPRESSED),
        (REPETITIVE, COMPRESSED),
        (incompressible(20_000), PLAIN),
    ],
)
def test_what_is_compressed(text: str, first: bytes) -> None:
    data = pack(text)
    assert data[:1] == first
    assert unpack(data, KEY, limit=LIMIT) == text
    if first == PLAIN:
        assert data[1:] == text.encode()


def test_compression_has_to_save_thirty_percent() -> None:
    noise = incompressible(70_000)
    # Hex digits alone do not shrink under LZ4; the run of zeros does, to almost nothing.
    for zeros, first in ((20_000, PLAIN), (45_000, COMPRESSED)):
        data = pack(noise + "0" * zeros)
        assert data[:1] == first
    assert len(pack(noise + "0" * 45_000)) <= 0.7 * (70_000 + 45_000) + 1


@given(st.one_of(st.text(), st.text(min_size=1, max_size=20).map(lambda text: text * 2_000)))
@settings(max_examples=60)
def test_what_was_packed_is_unpacked(text: str) -> None:
    data = pack(text)
    assert unpack(data, KEY, limit=LIMIT) == text
    assert len(data) <= len(text.encode()) + 1


def test_every_truncation_is_noticed() -> None:
    data = pack(REPETITIVE)
    for end in range(len(data)):
        damage(data[:end])
    assert damage(b"") == "the value at 'pm.user_stories' is damaged: it is empty, where 0 or 1 is expected"


def test_every_changed_byte_is_noticed() -> None:
    data = pack(REPETITIVE)
    assert data[:1] == COMPRESSED
    for place in range(1, len(data)):
        for flip in (0x01, 0x80, 0xFF):
            changed = data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :]
            try:
                found = unpack(changed, KEY, limit=LIMIT)
            except CorruptValue:
                continue
            # Some bits of the header only describe the frame.
            assert found == REPETITIVE


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\2{}", "is damaged: its first byte is 2, where 0 or 1 is expected"),
        (b"{}", "is damaged: its first byte is 123"),
        (b"\0\xff", "is damaged: 'utf-8' codec can't decode byte 0xff"),
        (b"\1", "is damaged: "),
        (b"\1{}", "is damaged: "),
        (b"\1" + b"\0" * 100, "is damaged: "),
        (pack(REPETITIVE) + b"x", "is damaged: its frame is followed by other bytes"),
        (b"\1" + lz4.frame.compress(b"\xff" * 20_000), "is damaged: 'utf-8' codec can't decode"),
        (b"\1" + lz4.frame.compress(b"x" * 20_000, store_size=False)[:-4], "is damaged: "),
    ],
)
def test_damage_is_named(data: bytes, complaint: str) -> None:
    assert complaint in damage(data)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_text_or_the_one_error(data: bytes) -> None:
    for prefix in (b"", b"\1", b"\1\x04\x22\x4d\x18"):
        try:
            unpack(prefix + data, KEY, limit=LIMIT)
        except CorruptValue:
            damage(prefix + data)


@pytest.mark.parametrize("stored", [True, False])
def test_the_limit_holds_for_both_forms(stored: bool) -> None:
    body = b"x" * 20_000
    frame = b"\1" + lz4.frame.compress(body, store_size=stored)
    for data in (b"\0" + body, frame):
        assert unpack(data, KEY, limit=20_000) == body.decode()
        assert "19,999" in damage(data, limit=19_999)


def _claiming(frame: bytes, size: int) -> bytes:
    """The frame with another content size in its header, whose checksum is made to fit."""
    header = bytearray(frame)
    header[6:14] = struct.pack("<Q", size)
    header[14] = _xxh32(bytes(header[4:14])) >> 8 & 0xFF
    return bytes(header)


def _xxh32(data: bytes) -> int:
    """XXH32 with seed 0, for less than 16 bytes."""
    p2, p3, p4, p5, mask = 2246822519, 3266489917, 668265263, 374761393, 0xFFFFFFFF
    value = (p5 + len(data)) & mask
    for at in range(0, len(data) - 3, 4):
        value = (value + int.from_bytes(data[at : at + 4], "little") * p3) & mask
        value = ((value << 17 | value >> 15) & mask) * p4 & mask
    for byte in data[len(data) // 4 * 4 :]:
        value = (value + byte * p5) & mask
        value = ((value << 11 | value >> 21) & mask) * 2654435761 & mask
    value = (value ^ value >> 15) * p2 & mask
    value = (value ^ value >> 13) * p3 & mask
    return value ^ value >> 16


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """4.4 MB that unfold to 1 GiB, with no size in the header."""
    compressor = lz4.frame.LZ4FrameCompressor(block_size=lz4.frame.BLOCKSIZE_MAX4MB)
    block = bytes(16 * 1024 * 1024)
    parts = [compressor.begin()] + [compressor.compress(block) for _ in range(64)] + [compressor.flush()]
    frame = b"".join(parts)
    assert len(frame) < 5_000_000
    return frame


def test_a_bomb_is_not_unfolded(bomb: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "has more than the 8,000,000 bytes allowed" in damage(b"\1" + bomb)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024)
    assert grown < 100_000_000


def test_a_header_is_not_believed() -> None:
    frame = lz4.frame.compress(b"x" * 20_000, store_size=True)
    assert lz4.frame.get_frame_info(_claiming(frame, 20_000))["content_size"] == 20_000
    assert _claiming(frame, 20_000) == frame
    assert "2,147,483,648 bytes; at most 8,000,000" in damage(b"\1" + _claiming(frame, 2**31))
    for lie in (1, 19_999, 20_001, 5_000_000):
        assert "is damaged" in damage(b"\1" + _claiming(frame, lie))


def test_random_bytes_are_kept_as_they_are() -> None:
    text = os.urandom(40_000).decode("latin-1")
    assert unpack(pack(text), KEY, limit=LIMIT) == text
