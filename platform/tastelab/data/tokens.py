"""Item texts → token store: ragged token ids of every item, written once per encoder and way of reading.

The store is one Arrow IPC file that every process maps instead of copying; a batch gathers the rows it needs. An item's
row is its features joined in one text or, where an architecture reads each by itself, its features one after another
with `FEATURE_BREAK` between them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tastelab.config import RunConfig, digest
from tastelab.data.availability import check_availability, take_away
from tastelab.data.tables import PreparedData
from tastelab.schema import FEATURE_BREAK, TEXT_FEATURES

Ints = npt.NDArray[np.int64]
CHUNK = 4_096


@dataclass(frozen=True)
class ItemTexts:
    """How items are read: which features, how much of them, and whether as one text or each by itself."""

    features: tuple[str, ...]
    max_tokens: int
    """Longest text in tokens, special tokens included; longer ones are cut."""
    missing: float = 0.0
    """Share of the items that lack each feature, see `data.availability`."""
    title_words: int | None = None
    """Words of a title that are left; None leaves all."""
    separate: bool = False
    """Tokenise each feature by itself instead of all in one text."""

    def __post_init__(self) -> None:
        """Refuse features that no item has, and what cannot be taken away."""
        check_features(self.features)
        check_availability(self.missing, self.title_words)

    @classmethod
    def of(cls, config: RunConfig) -> ItemTexts:
        """Take what a run reads from its configuration; its architecture says whether features stay apart."""
        data, tokens = config.data, getattr(config.model.architecture, "tokens", "encoder")
        return cls(data.features, data.max_tokens, data.missing, data.title_words, tokens == "features")

    @property
    def identity(self) -> list[Any]:
        """Plain values for the name of a folder: what is not set adds nothing, so that older folders keep theirs."""
        later = {name: value for name in ("missing", "title_words", "separate") if (value := getattr(self, name))}
        return [list(self.features), self.max_tokens, *([later] if later else [])]

    def read(self, data: PreparedData) -> pa.Table:
        """Read the features of all items, as far as they are there."""
        items = take_away(data.items(["item_id", *self.features]), self.missing, self.title_words)
        return items.select(list(self.features))


@dataclass(frozen=True)
class TokenStore:
    """Token ids of all items: `tokens[offsets[i]:offsets[i + 1]]` are item i's, special tokens included."""

    tokens: npt.NDArray[np.int32]
    offsets: Ints
    path: Path

    @property
    def lengths(self) -> Ints:
        """Tokens per item."""
        return np.diff(self.offsets)

    def gather(self, items_U: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Return padded `tokens_UT` (0 where masked) and `mask_UT` of the given item rows."""
        starts_U = self.offsets[items_U]
        lengths_U = self.offsets[items_U + 1] - starts_U
        slots_T = np.arange(int(lengths_U.max(initial=1)))
        mask_UT = slots_T < lengths_U[:, None]
        position_UT = np.where(mask_UT, starts_U[:, None] + slots_T, 0)
        return np.where(mask_UT, self.tokens[position_UT], 0).astype(np.int64), mask_UT


def join_features(items: pa.Table, features: Sequence[str], separator: str) -> pa.ChunkedArray:
    """Join text features into one text per item, leaving out absent ones."""
    check_features(features)
    columns = [pc.if_else(pc.equal(items[name], ""), None, items[name]) for name in features]
    # Arrow drops a row of nulls alone when it skips nulls: an item without any text keeps its row as "".
    columns[0] = pc.if_else(pc.is_null(pc.coalesce(*columns)), "", columns[0])
    return pc.binary_join_element_wise(*columns, separator, null_handling="skip")


def check_features(features: Sequence[str]) -> None:
    """Raise `ValueError` for a feature that no item table has."""
    if wrong := [name for name in features if name not in TEXT_FEATURES]:
        raise ValueError(f"Unknown text feature {', '.join(wrong)}: choose among {', '.join(TEXT_FEATURES)}.")
    if not features:
        raise ValueError(f"No text feature is chosen: choose among {', '.join(TEXT_FEATURES)}.")


def open_store(path: Path) -> TokenStore:
    """Map a token store that `build_store` wrote."""
    with pa.memory_map(str(path / "tokens.arrow")) as source:
        column = pa.ipc.open_file(source).read_all()["tokens"].chunk(0)
    return TokenStore(column.values.to_numpy(), column.offsets.to_numpy(), path)


def store_path(data: PreparedData, texts: ItemTexts, encoder_name: str, encoder_fingerprint: str) -> Path:
    """Place of the token store of a data set, encoder and way of reading: inside the prepared folder."""
    features, max_tokens, *later = texts.identity
    key = digest([data.fingerprint, features, max_tokens, encoder_fingerprint, *later])
    label = re.sub(r"[^A-Za-z0-9.]+", "_", encoder_name)
    return data.path / "tokens" / f"{label}-{'+'.join(texts.features)}-{key}"


def build_store(data: PreparedData, texts: ItemTexts, path: Path, tokenizer: Any) -> TokenStore:
    """Tokenise the items of a data set into `path`, unless a finished store is there, and map it.

    Args:
        data: the prepared data set.
        texts: how items are read; joined features stand in their order with the tokenizer's separator between them.
        path: where the store lies, see `store_path`.
        tokenizer: a `transformers` tokenizer.
    """
    if (path / "meta.json").exists():
        return open_store(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    chunks: list[npt.NDArray[np.int32]] = []
    lengths: list[npt.NDArray[np.int64]] = []
    for rows in _rows(texts, texts.read(data), tokenizer):
        lengths.append(np.fromiter(map(len, rows), np.int64, len(rows)))
        chunks.append(np.concatenate([np.asarray(row, np.int32) for row in rows]))
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    column = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(chunks)))
    table = pa.table({"tokens": column})
    with pa.OSFile(str(partial / "tokens.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    meta = dataclasses.asdict(texts) | {"num_items": len(offsets) - 1, "num_tokens": int(offsets[-1])}
    (partial / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")
    try:
        partial.rename(path)
    except OSError:  # another process finished the same store first
        shutil.rmtree(partial)
    return open_store(path)


def separate_rows(texts: Sequence[Sequence[str]], tokenizer: Any, max_tokens: int) -> list[list[int]]:
    """Tokenise each feature of each item by itself, with the encoder's special tokens around it.

    Args:
        texts: the features of each item, all in one order; "" is an absent one.
        tokenizer: a `transformers` tokenizer.
        max_tokens: longest feature in tokens, special tokens included.

    Returns:
        A row for each item: its features in order, `FEATURE_BREAK` between them, nothing where one is absent.
    """
    present = [text for features in texts for text in features if text]
    found = iter(tokenizer(present, truncation=True, max_length=max_tokens)["input_ids"] if present else ())
    rows = []
    for features in texts:
        row = [token for text in features for token in (*(next(found) if text else ()), FEATURE_BREAK)]
        rows.append(row[:-1])
    return rows


def _rows(texts: ItemTexts, items: pa.Table, tokenizer: Any) -> Iterator[list[list[int]]]:
    """Tokenise items chunk by chunk."""
    separator = f" {tokenizer.sep_token} " if tokenizer.sep_token else " "
    joined = None if texts.separate else join_features(items, texts.features, separator)
    for start in range(0, len(items), CHUNK):
        if joined is None:
            columns = [column.to_pylist() for column in items.slice(start, CHUNK).columns]
            yield separate_rows(list(zip(*columns, strict=True)), tokenizer, texts.max_tokens)
        else:
            chunk = joined[start : start + CHUNK].to_pylist()
            yield tokenizer(chunk, truncation=True, max_length=texts.max_tokens)["input_ids"]
