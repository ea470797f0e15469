"""Pretrained word vectors, as GloVe and word2vec write them in text: a word and its numbers on each line."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

MAX_MALFORMED_SHARE = 0.01


def read_vectors(file: Path, words: Mapping[str, int]) -> Floats:
    """Read the vectors of the given words from a text file, plain or .gz, line by line.

    Args:
        file: lines of a word and its numbers, parted by blanks; a first line of two counts is passed over.
        words: word → row, rows 0 … `len(words)` - 1.

    Returns:
        float32 (words, width); NaN where the file has no vector. Of a word named twice the first counts.

    Raises:
        ValueError: the file is missing or no text, more than 1 % of its lines are malformed, or it knows no word.
    """
    found: dict[int, Floats] = {}
    width = num_lines = num_malformed = 0
    with _readable(file), _opened(file) as lines:
        for line in _without_header(lines):
            word, _, numbers = line.rstrip().partition(" ")
            num_lines += 1
            width = width or numbers.count(" ") + 1
            row = words.get(word)
            if numbers.count(" ") != width - 1:
                num_malformed += 1
            elif row is not None and row not in found:
                vector = _vector(numbers)
                num_malformed += vector is None
                found |= {} if vector is None else {row: vector}
    _check(file, num_lines, num_malformed, len(found))
    vectors = np.full((len(words), width), np.nan, np.float32)
    vectors[list(found)] = list(found.values())
    return vectors


def check_readable(file: Path) -> None:
    """Raise `ValueError` unless the file is there and begins as text; the rest of it is read when it is needed."""
    with _readable(file), _opened(file) as lines:
        next(lines, "")


def _vector(numbers: str) -> Floats | None:
    """Parse a line's numbers; None if they are none."""
    try:
        vector = np.array(numbers.split(" "), np.float32)
    except ValueError:
        return None
    return vector if bool(np.isfinite(vector).all()) else None


def _check(file: Path, num_lines: int, num_malformed: int, num_found: int) -> None:
    if num_malformed > MAX_MALFORMED_SHARE * num_lines:
        raise ValueError(
            f"{num_malformed} of the {num_lines} lines of {file} are no word with its vector: pass a text file in the "
            "format of GloVe, every line a word and equally many numbers."
        )
    if not num_found:
        raise ValueError(f"{file} has no vector of any word of the data set: pass vectors of the data's language.")


def _without_header(lines: TextIO) -> Iterator[str]:
    first = next(lines, "")
    if not (len(first.split()) == 2 and all(map(str.isdecimal, first.split()))):
        yield first
    yield from lines


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Say in one sentence that a file is not to be read."""
    try:
        yield
    except (OSError, EOFError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text, plain or .gz"
        raise ValueError(f"The word vectors {file} cannot be read ({reason}): pass a text file of vectors.") from None


@contextmanager
def _opened(file: Path) -> Iterator[TextIO]:
    opener = gzip.open if file.suffix == ".gz" else open
    with opener(file, "rt", encoding="utf-8", newline="\n") as lines:
        yield lines
