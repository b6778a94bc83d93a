"""Frames of the journal: framed bytes are read back, and damage stays local."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrtrack.journal.events import understood
from lrtrack.journal.framing import MAGIC, MAX_PAYLOAD, Frame, Kind, cut_off, decode, encode
from tests.journal.test_reader import batch, frame

PARTS = st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=60)), max_size=6)
#: Bytes that do not begin a frame.
RUBBISH = st.binary(max_size=40).filter(lambda data: MAGIC[0] not in data)


def framed(parts: list[tuple[Kind, bytes]]) -> tuple[bytes, list[Frame]]:
    """Returns the parts as consecutive frames, and what a reader should return for them."""
    data, frames = b"", []
    for kind, payload in parts:
        start = len(data)
        data += encode(kind, payload)
        frames.append(Frame(kind, payload, start, len(data)))
    return data, frames


def contents(frames) -> list[tuple[Kind, bytes]]:
    """Returns only kinds and payloads."""
    return [(frame.kind, frame.payload) for frame in frames]


@settings(deadline=None)
@given(PARTS, st.integers(0, 2**40))
def test_round_trip(parts, base: int) -> None:
    """Any payloads are read back in order, with their offsets in the file."""
    data, _ = framed(parts)
    frames = list(decode(data, base))

    assert contents(frames) == parts
    assert [f.end - f.start - 13 for f in frames] == [len(payload) for _, payload in parts]
    assert [f.start for f in frames] == [base, *[f.end for f in frames]][: len(frames)]


def test_a_payload_may_look_like_a_frame() -> None:
    """A frame inside another frame's payload is read as payload."""
    inner = encode(Kind.EVENT, b"inner")
    data, frames = framed([(Kind.ROWS, inner), (Kind.EVENT, MAGIC)])

    assert list(decode(data)) == frames


@settings(deadline=None)
@given(PARTS, st.data())
def test_a_torn_tail_costs_the_torn_frame(parts, data) -> None:
    """A file cut at any byte returns exactly the complete frames before the cut."""
    whole, frames = framed(parts)
    cut = data.draw(st.integers(0, len(whole)))

    assert list(decode(whole[:cut])) == [frame for frame in frames if frame.end <= cut]


@settings(deadline=None)
@given(PARTS.filter(bool), st.data())
def test_a_flipped_bit_costs_the_frame_it_hits(parts, data) -> None:
    """A flipped bit anywhere loses only the frame it is in and raises nothing."""
    whole, frames = framed(parts)
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    damaged = bytearray(whole)
    damaged[bit // 8] ^= 1 << bit % 8

    assert list(decode(bytes(damaged))) == [
        frame for frame in frames if not frame.start <= bit // 8 < frame.end
    ]


@settings(deadline=None)
@given(PARTS, st.data())
def test_rubbish_between_frames_is_passed_over(parts, data) -> None:
    """Garbage before, between and after frames hides no frame."""
    whole = data.draw(RUBBISH)
    for kind, payload in parts:
        whole += encode(kind, payload) + data.draw(RUBBISH)

    assert contents(decode(whole)) == parts


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_complaint(data: bytes) -> None:
    """Reading arbitrary bytes terminates and returns only frames that `encode` could write."""
    for each in decode(MAGIC + data):
        assert encode(each.kind, each.payload) in MAGIC + data


def test_a_torn_frame_does_not_hide_what_was_written_after_it() -> None:
    """A torn frame does not hide the frames a later writer appends."""
    torn = encode(Kind.ROWS, b"x" * 100)[:60]
    after = encode(Kind.EVENT, b"resume") + encode(Kind.ROWS, b"y" * 200)

    assert contents(decode(torn + after)) == [(Kind.EVENT, b"resume"), (Kind.ROWS, b"y" * 200)]


def test_an_absurd_length_is_no_frame() -> None:
    """A length that no writer produces is treated as damage."""
    frame = bytearray(encode(Kind.ROWS, b"x"))
    frame[5:9] = (MAX_PAYLOAD + 1).to_bytes(4, "little")

    assert contents(decode(bytes(frame) + encode(Kind.EVENT, b"next"))) == [(Kind.EVENT, b"next")]


@pytest.mark.parametrize(
    ("head", "left", "is_cut"),
    [
        (MAGIC[:2], 2, True),
        (MAGIC, 4, True),
        (encode(Kind.ROWS, b"x")[:12], 12, True),
        (b"\xabLRX", 4, False),
        (b"other bytes", 11, False),
        (encode(Kind.ROWS, b"xyz")[:13], 15, True),  # 13 bytes before a payload of 3
        (encode(Kind.ROWS, b"xyz")[:13], 16, False),
        (encode(Kind.ROWS, b"xyz")[:13], 17, False),
        (b"X" + encode(Kind.ROWS, b"xyz")[1:13], 15, False),
        (encode(Kind.ROWS, b"xyz")[:4] + b"\x03" + encode(Kind.ROWS, b"xyz")[5:13], 15, False),
        (MAGIC + b"\x01" + (2**28).to_bytes(4, "little") + b"crc!", 15, True),
        (MAGIC + b"\x01" + (2**28 + 1).to_bytes(4, "little") + b"crc!", 15, False),
    ],
)
def test_a_frame_whose_end_was_never_written(head: bytes, left: int, is_cut: bool) -> None:
    """A plausible head before too few bytes is a frame that was cut off, and nothing else is."""
    assert cut_off(head, left) is is_cut


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_compressed_rows_are_refused(compression: str) -> None:
    """Compressed rows are not read, also where they take no less room than without."""
    rows = batch(step=[0], time=[1.0], loss=[0.1])
    plain, compressed = (
        [understood(each) for each in decode(frame(rows, how))] for how in (None, compression)
    )

    assert [entry is not None and entry.rows == rows for entry in plain] == [True]
    assert compressed == [None]
