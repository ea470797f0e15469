"""Words as tokens, for architectures with word embeddings of their own: vocabulary, tokenizer, given vectors.

A word is a run of letters and digits, lower-cased; the marks . , ! ? ; | are words, too; all else parts words. The
vocabulary comes from the texts of all items: texts carry no clicks, and a word that stands in items outside training
alone keeps the vector that it starts with.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tastelab.config import digest
from tastelab.data.glove import read_vectors
from tastelab.data.tables import PreparedData
from tastelab.data.tokens import ItemTexts, join_features

PADDING, UNKNOWN = "[PAD]", "[UNK]"
"""Rows 0 and 1 of every vocabulary."""
WORD = r"\w+|[.,!?;|]"
CHUNK = 4_096


class Words(NamedTuple):
    """The words of a data set."""

    folder: Path
    """Holds `tokenizer.json`, and `vectors.npy` where vectors are given: float32, a row per word, NaN for none."""
    fingerprint: str
    """12 hex digits: vocabulary and given vectors."""


def prepare_words(data: PreparedData, texts: ItemTexts, glove: Path | None = None, min_count: int = 1) -> Words:
    """Build the vocabulary of a data set, and the table of its given vectors, unless they are there.

    Args:
        data: the prepared data set; the folder is put into its folder.
        texts: how items are read; only the words that are read count, and a token store of the same texts may be put
            into the folder.
        glove: text file of pretrained vectors, see `data.glove`.
        min_count: words that stand in the texts less often are unknown.

    Raises:
        ValueError: no text has a word, or the file of vectors is not usable.
    """
    features, max_tokens, *later = texts.identity
    key = digest([data.fingerprint, features, max_tokens, min_count, _identity(glove), *later])
    folder = data.path / "tokens" / f"words-{'+'.join(features)}-{key}"
    if not (folder / "words.json").exists():
        _build(data, texts, glove, min_count, folder)
    return Words(folder, json.loads((folder / "words.json").read_text())["fingerprint"])


def load_words(folder: Path | str) -> Any:
    """Load the tokenizer that `build_vocabulary` made and `save_pretrained` saved."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(str(folder), local_files_only=True)


def build_vocabulary(texts: Iterable[str], min_count: int = 1, max_tokens: int | None = None) -> Any:
    """Return a `transformers` tokenizer of the words of some texts: the most frequent first, then by spelling.

    Args:
        texts: any number of texts.
        min_count: words that stand in them less often are unknown.
        max_tokens: only so many words of each text count; None counts all.
    """
    from transformers import PreTrainedTokenizerFast

    counts = count_words(texts, max_tokens)
    words = sorted((word for word in counts if counts[word] >= min_count), key=lambda word: (-counts[word], word))
    vocabulary = {word: row for row, word in enumerate((PADDING, UNKNOWN, *words))}
    tokenizer = _word_tokenizer(vocabulary)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PADDING, unk_token=UNKNOWN)


def count_words(texts: Iterable[str], max_tokens: int | None = None) -> Counter[str]:
    """Count the words of some texts, or the first `max_tokens` of each."""
    reader, counts = _word_tokenizer({PADDING: 0, UNKNOWN: 1}), Counter[str]()
    for text in texts:
        normal = reader.normalizer.normalize_str(text)
        counts.update(word for word, _ in reader.pre_tokenizer.pre_tokenize_str(normal)[:max_tokens])
    return counts


def _word_tokenizer(vocabulary: dict[str, int]) -> Any:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), "removed", invert=True)
    return tokenizer


def _build(data: PreparedData, texts: ItemTexts, glove: Path | None, min_count: int, folder: Path) -> None:
    joined = join_features(texts.read(data), texts.features, " ")
    tokenizer = build_vocabulary(_each(joined), min_count, texts.max_tokens)
    if len(tokenizer) == 2:
        features = ", ".join(texts.features)
        raise ValueError(f"No item of '{data.name}' has a word in its {features}: choose other features.")
    vectors = None if glove is None else read_vectors(glove, tokenizer.get_vocab())
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if vectors is not None:
        np.save(partial / "vectors.npy", vectors)
        # The width travels with the tokenizer: a checkpoint keeps that, and no vectors.
        tokenizer.init_kwargs["word_width"] = vectors.shape[1]
    tokenizer.save_pretrained(partial)
    about = {"num_words": len(tokenizer), "min_count": min_count, "fingerprint": _fingerprint(partial)}
    if vectors is not None:
        about["num_given"] = int(np.isfinite(vectors[:, 0]).sum())
    (partial / "words.json").write_text(json.dumps(about, indent=2) + "\n")
    try:
        partial.rename(folder)
    except OSError:  # another process finished the same vocabulary first
        shutil.rmtree(partial)


def _each(texts: Any) -> Iterable[str]:
    for start in range(0, len(texts), CHUNK):
        yield from texts[start : start + CHUNK].to_pylist()


def _identity(file: Path | None) -> list[Any] | None:
    """Say which file it is and whether it changed, without reading gigabytes."""
    if file is None or not file.is_file():
        return None if file is None else [str(file)]
    return [str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns]


def _fingerprint(folder: Path) -> str:
    whole = hashlib.sha256()
    for name in ("tokenizer.json", "vectors.npy"):
        if (folder / name).is_file():
            with (folder / name).open("rb") as stream:
                whole.update(f"{name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()[:12]
