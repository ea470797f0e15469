"""An index of item vectors on disk: searched in place, and only by the checkpoint whose vectors it holds.

index.faiss   the vectors and their structure, mapped from the file
items.arrow   `item_id` by row
index.json    kind, width, number of items, width of a search, recall on a sample, whose vectors they are, seconds

Shape letters: N users, K vectors of a user, D width, M items, k retrieved ones.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tastelab.metrics.retrieval import NOTHING
from tastelab.retrieval import kinds
from tastelab.retrieval.merge import Excluded, Rows, Scores, merge, without

FORMAT = 1
RECALL, RECALL_AT, RECALL_QUERIES = 0.995, 50, 256
"""What share of the exact top 50 of so many items a search must find where its width is not given."""


@dataclass(frozen=True)
class Source:
    """Whose vectors an index holds."""

    run_id: str
    checkpoint: str
    """Fingerprint of the trained parameters."""
    data: str
    """Fingerprint of the prepared data."""


@dataclass(frozen=True)
class About:
    """What `index.json` says."""

    kind: str
    dim: int
    num_items: int
    search_width: int
    """Lists that are probed (ivf), or nodes that a walk keeps (hnsw)."""
    recall: float
    """Share of the exact top 50 that is found for a sample of the items."""
    build_s: float
    source: Source
    metric: str = "inner product"
    format: int = FORMAT


def build(
    vectors_MD: npt.ArrayLike,
    ids: Sequence[str] | pa.Array,
    folder: Path,
    source: Source,
    kind: str = "auto",
    search_width: int | None = None,
    seed: int = 0,
) -> About:
    """Index item vectors and write the index, replacing one that is there only when the new one is complete.

    Args:
        vectors_MD: float32 unit vectors of all items, by row.
        ids: item ids, by row.
        folder: where the index goes.
        source: whose vectors they are.
        kind: exact, ivf, hnsw, or auto: exact below `kinds.EXACT_BELOW` items, else ivf.
        search_width: lists probed or nodes kept in a search; None widens it until the sample is found.
        seed: of k-means and of the sample.

    Raises:
        ValueError: a vector is not finite, there are none, ids and vectors differ in number, or the folder holds
            something else.
    """
    check_place(folder)
    vectors = np.ascontiguousarray(vectors_MD, np.float32)
    _check(vectors, len(ids))
    kind = kinds.choose_kind(kind, len(vectors))
    start = time.perf_counter()
    index = kinds.make(kind, vectors, seed)
    width, recall = _search_width(index, kind, vectors, search_width, seed)
    elapsed = time.perf_counter() - start
    about = About(kind, vectors.shape[1], len(vectors), width, recall, elapsed, source)
    _write(folder, index, ids, about)
    return about


def open_index(folder: Path, expected: Source | None = None) -> ItemIndex:
    """Open an index; its vectors stay in the file and are mapped.

    Args:
        folder: what `build` wrote.
        expected: whose vectors they must be; None takes any.

    Raises:
        ValueError: the folder is no index, is damaged, or holds the vectors of another checkpoint or other data.
    """
    about = _read_about(folder)
    if expected is not None and about.source != expected:
        raise ValueError(
            f"The index {folder} holds the item vectors of {_said(about.source)}, and what is asked for is "
            f"{_said(expected)}: build it again with `tastelab index`."
        )
    try:
        index = kinds.read(str(folder / "index.faiss"), about.kind)
        ids = pa.ipc.open_file(pa.memory_map(str(folder / "items.arrow"))).read_all()["item_id"]
    except (RuntimeError, OSError, pa.ArrowException) as error:
        raise ValueError(
            f"The index {folder} is damaged or incomplete: build it again with `tastelab index`."
        ) from error
    if (index.ntotal, index.d, len(ids)) != (about.num_items, about.dim, about.num_items):
        raise ValueError(
            f"The files of the index {folder} do not belong together: build it again with `tastelab index`."
        )
    return ItemIndex(index, ids, about)


@dataclass(frozen=True)
class ItemIndex:
    """An open index."""

    index: Any
    ids: pa.ChunkedArray
    about: About

    def search(
        self, users_NKD: npt.ArrayLike, k: int, exclude: Excluded | None = None, width: int | None = None
    ) -> tuple[Rows, Scores]:
        """Retrieve by each vector of a user, merge by maximum, drop duplicates, cut at k (methods.md §6).

        A user for whom fewer than k items are found is searched again over everything.

        Args:
            users_NKD: vectors of the users.
            k: how many to retrieve.
            exclude: items that are left out of each user's list; as many more are retrieved.
            width: of the search; None takes the index's own.

        Returns:
            Item rows and scores (N, k), the best first; `NOTHING` and −inf where fewer than k items are left.

        Raises:
            ValueError: k is below 1 or larger than the catalogue, the width of the vectors is another, or one of them
                is not finite.
        """
        users = np.asarray(users_NKD, np.float32)
        self._check(users, k)
        rows, scores = self._search(users, k, exclude, self.about.search_width if width is None else width)
        wanted = np.minimum(k, self.about.num_items - (np.diff(exclude.offsets) if exclude else 0))
        short = np.flatnonzero((rows != NOTHING).sum(axis=1) < wanted)
        widest = kinds.widest(self.about.kind, self.about.num_items)
        for user in short:
            only = slice(user, user + 1)
            rows[only], scores[only] = self._search(users[only], k, exclude and exclude[only], widest)
        return rows, scores

    def _search(self, users_NKD: Scores, k: int, exclude: Excluded | None, width: int) -> tuple[Rows, Scores]:
        num_users, _, dim = users_NKD.shape
        fetched = min(k + (exclude.longest if exclude else 0), self.about.num_items)
        found = kinds.search(self.index, self.about.kind, users_NKD.reshape(-1, dim), fetched, width)
        rows_NL, scores_NL = found[0].reshape(num_users, -1), found[1].reshape(num_users, -1)
        if exclude is not None:
            rows_NL, scores_NL = without(rows_NL, scores_NL, exclude)
        return merge(rows_NL, scores_NL, k)

    def _check(self, users_NKD: Scores, k: int) -> None:
        if not 1 <= k <= self.about.num_items:
            most = self.about.num_items
            raise ValueError(f"k is {k} and the index has {most:,} items: choose k from 1 to {most}.")
        if users_NKD.ndim != 3 or users_NKD.shape[2] != self.about.dim:
            raise ValueError(
                f"The index has vectors of width {self.about.dim}, the users {users_NKD.shape}: (N, K, D)."
            )
        if wrong := int((~np.isfinite(users_NKD)).any(axis=2).sum()):
            raise ValueError(f"{wrong:,} user vectors are NaN or infinite: pass another checkpoint.")


def check_place(folder: Path) -> None:
    """Raise `ValueError` where an index would replace something that is none."""
    if folder.exists() and not (folder / "index.json").is_file() and (folder.is_file() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there and is no index: choose another folder.")


def _check(vectors_MD: npt.NDArray[np.float32], num_ids: int) -> None:
    if vectors_MD.ndim != 2 or not len(vectors_MD):
        raise ValueError(f"An index needs item vectors (items, width), not {vectors_MD.shape}.")
    if num_ids != len(vectors_MD):
        raise ValueError(
            f"There are {len(vectors_MD):,} item vectors and {num_ids:,} item ids: pass one id per vector."
        )
    if wrong := int((~np.isfinite(vectors_MD.sum(axis=1))).sum()):
        raise ValueError(
            f"{wrong:,} of {len(vectors_MD):,} item vectors are NaN or infinite: training diverged, or the vectors are "
            "damaged; lower the learning rate or pass another checkpoint."
        )


def _search_width(
    index: Any, kind: str, vectors_MD: npt.NDArray[np.float32], given: int | None, seed: int
) -> tuple[int, float]:
    """Return the narrowest search that finds the sample, and what it finds."""
    if kind == "exact":
        return 0, 1.0
    num_items, k = len(vectors_MD), min(RECALL_AT, len(vectors_MD))
    sample = np.random.default_rng(seed).choice(num_items, min(num_items, RECALL_QUERIES), replace=False)
    queries, most = vectors_MD[sample], kinds.widest(kind, num_items)
    flat = kinds.faiss.IndexFlatIP(vectors_MD.shape[1])
    flat.add(vectors_MD)
    exact, _ = kinds.search(flat, "exact", queries, k, 0)
    width = min(given or kinds.NARROWEST[kind], most)
    recall = share_found(kinds.search(index, kind, queries, k, width)[0], exact)
    while given is None and recall < RECALL and width < most:
        width = min(2 * width, most)
        recall = share_found(kinds.search(index, kind, queries, k, width)[0], exact)
    return width, recall


def share_found(rows_Nk: Rows, exact_Nk: Rows) -> float:
    """Return recall@k: the share of the exact top k that a search found.

    >>> share_found(np.array([[3, 1]]), np.array([[1, 2]]))
    0.5
    """
    return float((exact_Nk[:, :, None] == rows_Nk[:, None, :]).any(axis=2).mean())


def _write(folder: Path, index: Any, ids: Sequence[str] | pa.Array, about: About) -> None:
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        kinds.faiss.write_index(index, str(partial / "index.faiss"))
        table = pa.table({"item_id": ids})
        with pa.OSFile(str(partial / "items.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        (partial / "index.json").write_text(json.dumps(dataclasses.asdict(about), indent=2) + "\n")
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _read_about(folder: Path) -> About:
    try:
        said = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        if said.get("format") != FORMAT:
            raise ValueError(f"The index {folder} is of format {said.get('format')}, not {FORMAT}: build it again.")
        about = About(**(said | {"source": Source(**said["source"])}))
    except OSError:
        raise ValueError(f"{folder} is no index, it has no index.json: build one with `tastelab index`.") from None
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{folder / 'index.json'} does not describe an index: build it with `tastelab index`."
        ) from error
    if about.kind not in kinds.KINDS:
        raise ValueError(f"{folder / 'index.json'} names no kind of index: build it again with `tastelab index`.")
    return about


def _said(source: Source) -> str:
    return f"the checkpoint {source.checkpoint} (run {source.run_id}) on the data {source.data}"
