"""Lines of a feed's files, plain or compressed, as a stream that holds one line at a time."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Protocol

import zstandard

from tastelab.data.feeds.base import MAX_LINE, BadRecords

PLAIN = (".jsonl", ".ndjson", ".json")
COMPRESSED = (".zst", ".gz")
RANGE_BYTES = 64 * 2**20
"""Bytes of a plain file that one task reads."""
_CHUNK = 2**20
# Small, for 4 bytes of zstd become 128 KiB at worst: 8 MiB at a time. Larger ones are no faster.
_COMPRESSED_CHUNK = 2**8
_SHOWN = 2_000
_CUT = "the file ends within this record"


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def read_lines(
    path: Path, bad: BadRecords, start: int = 0, stop: int | None = None, max_line: int = MAX_LINE
) -> Iterator[tuple[int, bytes]]:
    """Read the lines of a .jsonl, .ndjson, .zst or .gz file: (number, line without blanks around it).

    Of a plain file a range of bytes [start, stop) may be read: it has the lines that begin in it, so ranges that cover
    the file give each line once. Numbers count from 1 in the range, blank lines included. Every line that is not blank
    counts in `bad.num_records`, so callers do not count. To `bad` go, without being yielded: a line above `max_line`
    bytes (skipped to its end without being held), one that is no UTF-8, and the last one if the file is cut within it
    (no newline and no whole JSON, or a compressed frame without an end), which sets `bad.cut_short`.

    Memory: `max_line` and some buffers; a .zst also takes the window its writer chose, up to 2 GiB.

    Raises:
        ValueError: a range of a compressed file.
    """
    if (start or stop is not None) and path.suffix.lower() in COMPRESSED:
        raise ValueError(f"{path.name} is compressed and can only be read whole: unpack it to read a part of it.")
    with path.open("rb", buffering=_CHUNK) as file:
        begin = _next_line(file, start, stop)
        if begin is None:
            return
        limit = None if stop is None else stop - begin
        yield from _checked(_chunks(file, path.suffix.lower(), bad), bad, limit, max_line, is_first=begin == 0)


def ranges(path: Path, num_bytes: int = RANGE_BYTES) -> list[tuple[int, int | None]]:
    """Cut a file into ranges for `read_lines`: about `num_bytes` each of a plain file, a compressed one whole."""
    size = path.stat().st_size
    if path.suffix.lower() in COMPRESSED or size <= num_bytes:
        return [(0, None)]
    cuts: list[int | None] = [*range(0, size - num_bytes // 2, num_bytes), None]
    return [(start or 0, stop) for start, stop in pairwise(cuts)]


def _next_line(file: BinaryIO, start: int, stop: int | None) -> int | None:
    """Go to the first line that begins at `start` or later; None: there is none before `stop`."""
    if not start:
        return 0
    position = start - 1
    file.seek(position)
    while chunk := file.read(_CHUNK):
        newline = chunk.find(b"\n")
        if newline >= 0:
            position += newline + 1
            break
        position += len(chunk)
        if stop is not None and position >= stop:
            return None
    else:
        return None
    file.seek(position)
    return None if stop is not None and position >= stop else position


def _checked(
    chunks: Iterator[bytes], bad: BadRecords, limit: int | None, max_line: int, is_first: bool
) -> Iterator[tuple[int, bytes]]:
    position = number = 0
    for raw, length, has_end in _split(chunks, max_line):
        if limit is not None and position >= limit:
            return
        position += length + 1
        number += 1
        line = (raw.removeprefix(b"\xef\xbb\xbf") if is_first and number == 1 else raw).strip()
        if not line and length <= max_line:
            continue
        bad.num_records += 1
        if length > max_line:
            bad.add(number, f"longer than {max_line:,} bytes", raw[:_SHOWN])
        elif not has_end and (bad.cut_short or not _is_json(line)):
            bad.add(number, _CUT, line[:_SHOWN])
            bad.cut_short = True
            return
        elif _is_utf8(line):
            yield number, line
        else:
            bad.add(number, "not UTF-8", line[:_SHOWN])
    if bad.cut_short:
        bad.num_records += 1
        bad.add(number + 1, _CUT)


def _split(chunks: Iterator[bytes], most: int) -> Iterator[tuple[bytes, int, bool]]:
    """Split chunks at newlines: (a line's first bytes, at most `most` + 1, its length, whether a newline ended it)."""
    held, length = bytearray(), 0
    for chunk in chunks:
        *ended, tail = chunk.split(b"\n")
        for part in ended:
            if length:
                held += part[: most + 1 - len(held)]
                yield bytes(held), length + len(part), True
                held, length = bytearray(), 0
            else:
                yield part[: most + 1], len(part), True
        held += tail[: most + 1 - len(held)]
        length += len(tail)
    if length:
        yield bytes(held), length, False


def _chunks(file: BinaryIO, suffix: str, bad: BadRecords) -> Iterator[bytes]:
    if suffix == ".zst":
        # Public dumps are packed with windows far above the library's limit.
        unpacker = zstandard.ZstdDecompressor(max_window_size=2**31)
        size = zstandard.DECOMPRESSION_RECOMMENDED_OUTPUT_SIZE
        yield from _unpacked(file, lambda: unpacker.decompressobj(size, read_across_frames=False), bad)
    elif suffix == ".gz":
        yield from _unpacked(file, lambda: zlib.decompressobj(wbits=31), bad)
    else:
        while chunk := file.read(_CHUNK):
            yield chunk


def _unpacked(file: BinaryIO, decoder: Callable[[], _Decoder], bad: BadRecords) -> Iterator[bytes]:
    """Unpack frame after frame; a frame without an end, or a damaged one, sets `bad.cut_short`."""
    frame: _Decoder | None = None
    while block := file.read(_COMPRESSED_CHUNK):
        while block:
            frame = frame or decoder()
            try:
                chunk = frame.decompress(block)
            except (zstandard.ZstdError, zlib.error):
                bad.cut_short = True
                return
            yield from (chunk[at : at + _CHUNK] for at in range(0, len(chunk), _CHUNK))
            block, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    bad.cut_short = bad.cut_short or frame is not None


def _is_utf8(line: bytes) -> bool:
    if line.isascii():
        return True
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
