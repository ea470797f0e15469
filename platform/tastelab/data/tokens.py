"""Item texts → token store: ragged token ids of every item, written once per encoder and set of features.

The store is one Arrow IPC file that every process maps instead of copying; a batch gathers the rows it needs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tastelab.config import digest
from tastelab.data.tables import PreparedData
from tastelab.schema import TEXT_FEATURES

Ints = npt.NDArray[np.int64]
Tokenize = Callable[[list[str], int], list[list[int]]]
"""Texts and the longest length → token ids with the encoder's special tokens."""

CHUNK = 4_096


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


def store_path(
    data: PreparedData, features: Sequence[str], max_tokens: int, encoder_name: str, encoder_fingerprint: str
) -> Path:
    """Place of the token store of a data set, encoder and set of features: inside the prepared folder."""
    key = digest([data.fingerprint, list(features), max_tokens, encoder_fingerprint])
    label = re.sub(r"[^A-Za-z0-9.]+", "_", encoder_name)
    return data.path / "tokens" / f"{label}-{'+'.join(features)}-{key}"


def build_store(data: PreparedData, features: Sequence[str], max_tokens: int, path: Path, tokenizer: Any) -> TokenStore:
    """Tokenise the items of a data set into `path`, unless a finished store is there, and map it.

    Args:
        data: the prepared data set.
        features: text features, joined in this order with the tokenizer's separator.
        max_tokens: longest text in tokens, special tokens included; longer ones are cut.
        path: where the store lies, see `store_path`.
        tokenizer: a `transformers` tokenizer.
    """
    if (path / "meta.json").exists():
        return open_store(path)
    items = data.items(list(features))
    separator = f" {tokenizer.sep_token} " if tokenizer.sep_token else " "
    texts = join_features(items, features, separator)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    chunks: list[npt.NDArray[np.int32]] = []
    lengths: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(texts), CHUNK):
        batch = tokenizer(texts[start : start + CHUNK].to_pylist(), truncation=True, max_length=max_tokens)
        rows = batch["input_ids"]
        lengths.append(np.fromiter(map(len, rows), np.int64, len(rows)))
        chunks.append(np.concatenate([np.asarray(row, np.int32) for row in rows]))
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    column = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(chunks)))
    table = pa.table({"tokens": column})
    with pa.OSFile(str(partial / "tokens.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    meta = {
        "features": list(features),
        "max_tokens": max_tokens,
        "num_items": len(texts),
        "num_tokens": int(offsets[-1]),
    }
    (partial / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")
    try:
        partial.rename(path)
    except OSError:  # another process finished the same store first
        shutil.rmtree(partial)
    return open_store(path)
