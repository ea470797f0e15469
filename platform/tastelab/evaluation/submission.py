"""MIND's submission file: for every impression the ranks of its candidates, zipped as `prediction.txt`.

One line per impression, `<impression id> [r1,r2,…]`, in the order of the behaviors file; ranks start at 1 and stand
in the order of the candidates. Ties are broken by the official order (methods.md §1).
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike

from tastelab.metrics.ranking import official_ranks
from tastelab.metrics.slots import Ints

MEMBER = "prediction.txt"
CHUNK_IMPRESSIONS = 1 << 13


def write_submission(
    path: Path, impression_ids: pa.Array | pa.ChunkedArray | Sequence[Any], scores: ArrayLike, offsets: ArrayLike
) -> None:
    """Write the ranks of all impressions to the zip file `path`, which appears only when it is complete.

    Args:
        path: the zip file; one that is there is replaced.
        impression_ids: N ids in the order of the behaviors file.
        scores: S numbers, one per candidate, end to end; the highest gets rank 1.
        offsets: N + 1 integers; impression i has the candidates `offsets[i]:offsets[i + 1]`.

    Raises:
        ValueError: a NaN score, malformed offsets, ids that are not one per impression, or no folder for `path`.
    """
    ranks_S, offsets_N1 = official_ranks(scores, offsets), np.asarray(offsets, np.int64)
    if len(impression_ids) != len(offsets_N1) - 1:
        raise ValueError(
            f"Pass one id per impression: there are {len(impression_ids)} ids and {len(offsets_N1) - 1} impressions."
        )
    check_place(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        _write(partial, _lines(_as_strings(impression_ids), ranks_S, offsets_N1))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def check_place(path: Path) -> None:
    """Raise `ValueError` if no file can be put at `path`."""
    if not path.parent.is_dir():
        raise ValueError(f"The folder {path.parent} does not exist: create it or write elsewhere.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name the zip file to write.")


def _write(path: Path, parts: Iterator[str]) -> None:
    member = zipfile.ZipInfo(MEMBER)  # without the time of writing: the same ranks give the same file
    member.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w") as archive, archive.open(member, "w", force_zip64=True) as file:
        for part in parts:
            file.write(part.encode())


def _lines(ids: pa.Array, ranks_S: Ints, offsets_N1: Ints) -> Iterator[str]:
    """Format a chunk of impressions at a time, each line with its end."""
    for start in range(0, len(ids), CHUNK_IMPRESSIONS):
        some_ids = ids[start : start + CHUNK_IMPRESSIONS]
        bounds = offsets_N1[start : start + len(some_ids) + 1]
        ranks = pc.cast(pa.array(ranks_S[bounds[0] : bounds[-1]]), pa.string())
        joined = pc.binary_join(pa.ListArray.from_arrays((bounds - bounds[0]).astype(np.int32), ranks), ",")
        lines = pc.binary_join_element_wise(some_ids, " [", joined, "]\n", "")
        yield "".join(lines.to_pylist())


def _as_strings(ids: pa.Array | pa.ChunkedArray | Sequence[Any]) -> pa.Array:
    array = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else pa.array(ids)
    return pc.cast(array, pa.string())
