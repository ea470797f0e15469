"""The kinds of index that FAISS builds of item vectors, and how widely each searches.

exact  every vector is compared
ivf    vectors lie in lists around centroids (spherical k-means); the lists of the nearest centroids are searched
hnsw   a navigable graph (Malkov and Yashunin 2018) is walked from neighbour to neighbour

Shape letters: N queries, D width, M items, k retrieved ones.
"""

from __future__ import annotations

import math
from typing import Any

import faiss as typed_faiss
import numpy as np
import numpy.typing as npt

faiss: Any = typed_faiss
"""Its type stubs know only a part of it."""
Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

KINDS = ("exact", "ivf", "hnsw")
EXACT_BELOW = 50_000
"""Items below which `auto` compares all: that takes a millisecond, and nothing is missed."""
LISTS_PER_ROOT = 2.0
"""Lists of an IVF index for each unit of the square root of the number of items."""
TRAINING_PER_LIST = 64
LINKS, EF_CONSTRUCTION = 32, 200
NARROWEST = {"exact": 0, "ivf": 8, "hnsw": 64}
"""Smallest search: lists that are probed, or nodes that a walk keeps. What users' vectors are near is not known when
an index is built, so a search is never as narrow as the items alone would allow."""
WIDEST_WALK = 4_096


def choose_kind(kind: str, num_items: int) -> str:
    """Return the kind that is asked for, or what `auto` means for a catalogue of this size."""
    if kind == "auto":
        return "exact" if num_items < EXACT_BELOW else "ivf"
    if kind not in KINDS:
        raise ValueError(f"Unknown kind of index '{kind}': choose auto, {', '.join(KINDS)}.")
    return kind


def make(kind: str, vectors_MD: Vectors, seed: int = 0) -> Any:
    """Build FAISS's index of item vectors by inner product."""
    num_items, width = vectors_MD.shape
    if kind == "exact":
        index = faiss.IndexFlatIP(width)
    elif kind == "hnsw":
        index = faiss.IndexHNSWFlat(width, LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = EF_CONSTRUCTION
    else:
        index = _lists(vectors_MD, num_lists(num_items), seed)
    index.add(vectors_MD)
    return index


def num_lists(num_items: int) -> int:
    """Return how many lists an IVF index of so many items has."""
    return max(1, min(num_items, round(LISTS_PER_ROOT * math.sqrt(num_items))))


def widest(kind: str, num_items: int) -> int:
    """Return the width at which nothing more can be found: all lists, or a walk of the greatest length."""
    return {"exact": 0, "ivf": num_lists(num_items), "hnsw": min(num_items, WIDEST_WALK)}[kind]


def search(index: Any, kind: str, queries_ND: Vectors, k: int, width: int) -> tuple[Rows, Vectors]:
    """Return rows and scores (N, k) of a search of some width, −1 where fewer are found."""
    params = None
    if kind == "ivf":
        params = faiss.SearchParametersIVF(nprobe=width)
    elif kind == "hnsw":
        params = faiss.SearchParametersHNSW(efSearch=max(width, k))
    scores_Nk, rows_Nk = index.search(np.ascontiguousarray(queries_ND, np.float32), k, params=params)
    return rows_Nk, scores_Nk


def read(file: str, kind: str) -> Any:
    """Open a written index, its vectors mapped from the file."""
    # FAISS maps the lists of an IVF index by one flag and the vectors and links of the others by another.
    return faiss.read_index(file, faiss.IO_FLAG_MMAP if kind == "ivf" else faiss.IO_FLAG_MMAP_IFC)


def _lists(vectors_MD: Vectors, lists: int, seed: int) -> Any:
    num_items, width = vectors_MD.shape
    quantizer = faiss.IndexFlatIP(width)
    index = faiss.IndexIVFFlat(quantizer, width, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed, index.cp.spherical, index.cp.niter = seed + 1, True, 8
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, TRAINING_PER_LIST
    sample = np.random.default_rng(seed).choice(num_items, min(num_items, lists * TRAINING_PER_LIST), replace=False)
    index.train(vectors_MD[np.sort(sample)])
    return index
