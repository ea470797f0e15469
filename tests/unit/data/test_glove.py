"""Reading pretrained word vectors: what is wanted, what is malformed, and what is no such file."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from tastelab.data.glove import read_vectors

WORDS = {"[PAD]": 0, "the": 1, "cat": 2, "été": 3, "dog": 4}


def write(folder: Path, lines: list[str]) -> Path:
    file = folder / "vectors.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_words_of_the_vocabulary_are_read_and_others_are_missing(tmp_path: Path) -> None:
    file = write(tmp_path, ["the 1 2.5", "Cat 9 9", "été -0.5 1e-2", "cat 3 4", "the 7 7", "house 8 8"])
    vectors = read_vectors(file, WORDS)
    nan = float("nan")
    expected = np.array([[nan, nan], [1, 2.5], [3, 4], [-0.5, 0.01], [nan, nan]], np.float32)
    np.testing.assert_array_equal(vectors, expected)
    assert vectors.dtype == np.float32


@pytest.mark.parametrize("ending", ["\n", "\r\n", " \n"])
def test_plain_and_packed_files_of_any_ending_are_the_same(tmp_path: Path, ending: str) -> None:
    text = ending.join(["2 3", "the 1 2 3", "dog 4 5 6", ""])
    (tmp_path / "plain.vec").write_text(text, encoding="utf-8", newline="")
    with gzip.open(tmp_path / "packed.vec.gz", "wt", encoding="utf-8", newline="") as packed:
        packed.write(text)
    plain = read_vectors(tmp_path / "plain.vec", WORDS)
    assert plain[[1, 4]].tolist() == [[1, 2, 3], [4, 5, 6]]
    np.testing.assert_array_equal(read_vectors(tmp_path / "packed.vec.gz", WORDS), plain)


MALFORMED = ["cat 1", "cat 1 2 3", "cat one two", "cat nan 1", "cat inf 1", ". . 1 2", "", "cat"]


@pytest.mark.parametrize("bad", MALFORMED)
def test_one_malformed_line_in_a_hundred_is_passed_over(tmp_path: Path, bad: str) -> None:
    lines = ["the 1 2", bad, "cat 3 4", *(f"w{i} 0 0" for i in range(97))]
    assert read_vectors(write(tmp_path, lines), WORDS)[[1, 2]].tolist() == [[1, 2], [3, 4]]
    with pytest.raises(ValueError, match=r"1 of the 99 lines of .* are no word with its vector"):
        read_vectors(write(tmp_path, lines[:-1]), WORDS)


def test_a_file_that_knows_no_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no vector of any word of the data set"):
        read_vectors(write(tmp_path, ["haus 1 2"]), WORDS)


@pytest.mark.parametrize("name", ["missing.txt", "binary.txt", "plain.gz", "cut.gz", ""])
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "binary.txt").write_bytes(b"the 1 2\n\xff\xfe 1 2\n")
    (tmp_path / "plain.gz").write_text("the 1 2\n")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"the 1 2\n" * 1_000)[:-9])
    with pytest.raises(ValueError, match=r"The word vectors .*cannot be read \(.+\): pass a text file of vectors\."):
        read_vectors(tmp_path / name, WORDS)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(ValueError, match=r"empty\.txt"):
        read_vectors(tmp_path / "empty.txt", WORDS)
