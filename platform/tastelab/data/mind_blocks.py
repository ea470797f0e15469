"""Read a TSV in blocks of whole lines with a known number of columns; lines that have another go to quarantine.

Nothing is quoted: a quotation mark is a character like any other. Fields are found by their separators alone, so a
block costs a few passes over its bytes and no Python object per line.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tastelab.data.mind_layout import RawFile
from tastelab.data.quarantine import BadLine

BLOCK_BYTES = 4 * 2**20  # larger ones spend their gain on page faults of their temporaries
BOM = b"\xef\xbb\xbf"
TAB, NEWLINE = 9, 10

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Block:
    """Well-formed lines of a file, each ended by one newline: their bytes, and their line numbers in the file."""

    text: bytes
    numbers: Ints

    @property
    def num_lines(self) -> int:
        """Number of lines."""
        return len(self.numbers)

    def field_ends(self, num_columns: int) -> Ints:
        """Return the positions of the separator that ends each field, lines × columns."""
        array = np.frombuffer(self.text, np.uint8)
        return np.flatnonzero((array == TAB) | (array == NEWLINE)).reshape(-1, num_columns)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the number and the bytes of each line."""
        return zip(self.numbers.tolist(), self.text.split(b"\n"), strict=False)

    def split(self, keep: Bools) -> tuple[Block, Iterator[tuple[int, bytes]]]:
        """Return the block of the lines to keep, and the number and bytes of each of the others."""
        flags = keep.tolist()
        kept = b"".join(line + b"\n" for (_, line), flag in zip(self.lines(), flags, strict=False) if flag)
        rest = (numbered for numbered, flag in zip(self.lines(), flags, strict=False) if not flag)
        return Block(kept, self.numbers[keep]), rest


def read_blocks(file: RawFile, advance: Callable[[int], object]) -> Iterator[tuple[int, bytes]]:
    """Yield the file's text in blocks cut at line ends, with the number of each block's first line (from 1).

    A byte-order mark is dropped, CRLF becomes a newline, the last line gets one if it has none. `advance` is told the
    number of bytes read.

    Raises:
        ValueError: The file is empty, one line is longer than a block, or a zip's member is damaged.
    """
    number, rest, empty = 1, b"", True
    with file.open() as stream:
        for chunk in _chunks(stream, file.label):
            advance(len(chunk))
            text = rest + (chunk.removeprefix(BOM) if empty else chunk)
            empty = False
            cut = text.rfind(b"\n") + 1
            text, rest = text[:cut], text[cut:]
            if len(rest) > BLOCK_BYTES:
                raise ValueError(f"{file.label} has a line longer than {BLOCK_BYTES:,} bytes: it is no such table.")
            if text:
                yield number, text.replace(b"\r\n", b"\n")
                number += text.count(b"\n")
    if rest:
        yield number, rest.removesuffix(b"\r") + b"\n"
    if empty:
        raise ValueError(f"{file.label} is empty.")


def _chunks(stream: BinaryIO, label: str) -> Iterator[bytes]:
    try:
        while chunk := stream.read(BLOCK_BYTES):
            yield chunk
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{label} is damaged ({error}): download its zip again.") from error


def well_formed(first_number: int, text: bytes, num_columns: tuple[int, ...]) -> tuple[Block, list[BadLine]]:
    """Keep the lines of a block that are UTF-8 and have one of `num_columns`; blank lines are dropped silently."""
    array = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(array == NEWLINE)
    block = Block(text, np.arange(first_number, first_number + len(ends)))
    columns = np.diff(np.searchsorted(np.flatnonzero(array == TAB), ends), prepend=0) + 1
    blank = np.diff(ends, prepend=-1) == 1
    decodable = _decodable(text, len(ends))
    keep = np.isin(columns, num_columns) & ~blank & decodable
    if keep.all():
        return block, []
    kept, rest = block.split(keep)
    wrong = zip(columns[~keep].tolist(), decodable[~keep].tolist(), rest, strict=True)
    bad = [BadLine(number, _reason(n, num_columns, utf8), line) for n, utf8, (number, line) in wrong if line]
    return kept, bad


def _reason(found: int, num_columns: tuple[int, ...], utf8: bool) -> str:
    if not utf8:
        return "not UTF-8"
    if found < min(num_columns):
        return f"truncated: {found} of {min(num_columns)} columns"
    return f"{found} columns instead of {' or '.join(map(str, num_columns))}"


def _decodable(text: bytes, num_lines: int) -> Bools:
    """Tell which lines are UTF-8; only a block that is not is looked at line by line."""
    if _decodes(text):
        return np.ones(num_lines, np.bool_)
    return np.array([_decodes(line) for line in text.split(b"\n")[:-1]])


def _decodes(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
