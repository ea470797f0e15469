"""Near-duplicates among items: the same link, or almost the same title.

Titles are compared as sets of three consecutive characters. MinHash signatures (Broder, 1997), cut in bands, propose
the pairs; the Jaccard similarity of each proposed pair is then computed exactly, so that a pair is never joined by
chance. Groups are the connected components.

Shape letters: N titles, G distinct shingles of each title end to end, P pairs.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from tastelab.data.tables import PreparedData

Int32s = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

THRESHOLD = 0.8
"""Jaccard similarity from which two titles are almost the same."""
MIN_WORDS = 3
"""Titles of fewer words are near-duplicates only when they are equal."""
SHINGLE = 3
BANDS, BAND_ROWS = 24, 5
"""A pair of similarity s is proposed with probability 1 - (1 - s⁵)²⁴: .99993 at the threshold."""
NEIGHBOURS = 64
"""Titles of a bucket that each one is compared with, so that a bucket of n titles costs n and not n²."""
CHUNK = 16_384
"""Titles, or pairs of them, whose shingles are held at a time: some 50 MB."""
MAX_PAIRS = 2**22
"""Proposed pairs from which on the repeated ones among them go before the next band is looked at: 32 MB."""
CACHE = "near_duplicates-1.npy"


def near_duplicates(titles: Sequence[str], urls: Sequence[str] | None = None) -> Int32s:
    """Find groups of items with the same link or almost the same title.

    Links are compared without scheme, `www.`, `utm_` parameters, fragment and trailing slash, titles without case and
    punctuation. The result depends on nothing but the input.

    >>> near_duplicates(["Why is my beer flat", "What is a neuron", "Why is my beer flat?"]).tolist()
    [0, -1, 0]

    Args:
        titles: N titles; an empty one is like no other.
        urls: what each item points at, "" for nothing; None: there are no links.

    Returns:
        N rows: the first item of the group, which for that item is its own row; -1 for an item that is alone.

    Raises:
        ValueError: there are not as many links as titles.
    """
    if urls is not None and len(urls) != len(titles):
        raise ValueError(f"There are {len(urls)} links for {len(titles)} titles: give one per item, '' for none.")
    plain = [normal_title(title) for title in titles]
    first_of_title = _first_equal(plain)
    distinct = np.array([row for row, first in enumerate(first_of_title) if row == first and _is_long(plain[row])])
    edges = [_pairs(first_of_title), _similar([plain[row] for row in distinct], distinct.astype(np.int64))]
    if urls is not None:
        edges.append(_pairs(_first_equal([normal_url(url) for url in urls])))
    return _groups(np.concatenate(edges), len(titles))


def cached_near_duplicates(data: PreparedData) -> Int32s:
    """Return the near-duplicate group of every item of a data set, as `near_duplicates` does.

    The column `near_duplicate` is used where the item table has it. Otherwise titles alone are compared, and the result
    is kept in the prepared folder if that can be written.
    """
    if data.has_item_column("near_duplicate"):
        column = data.items(["near_duplicate"])["near_duplicate"]
        return np.asarray(column.fill_null(-1).to_numpy(), dtype=np.int32)
    path = data.path / CACHE
    kept = _read(path)
    if kept is not None and len(kept) == data.num_items:
        return kept
    found = near_duplicates(data.items(["title"])["title"].to_pylist())
    _keep(path, found)
    return found


class _Blanks(dict[int, int]):
    """Table for `str.translate`: punctuation, blanks and control characters become a blank; # as in C# stays."""

    def __missing__(self, code: int) -> int:
        self[code] = ord(" ") if code != ord("#") and unicodedata.category(chr(code))[0] in "PZC" else code
        return self[code]


_BLANKS = _Blanks()


def normal_title(title: str) -> str:
    """Return a title as it is compared: compatibility forms resolved, lower case, words between single blanks."""
    return " ".join(unicodedata.normalize("NFKC", title).casefold().translate(_BLANKS).split())


def normal_url(url: str) -> str:
    """Return a link as it is compared; "" for none."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:  # such as an unclosed bracket: compared as it stands
        return url.strip()
    query = "&".join(pair for pair in parts.query.split("&") if not re.match("utm_", pair, re.IGNORECASE))
    host = parts.netloc.lower().removeprefix("www.").removesuffix(":80").removesuffix(":443")
    return host + parts.path.rstrip("/") + ("?" + query if query else "")


def _is_long(title: str) -> bool:
    return title.count(" ") >= MIN_WORDS - 1


def _first_equal(keys: Sequence[str]) -> list[int]:
    """Row of the first equal key for each; -1 for an empty one."""
    first: dict[str, int] = {}
    return [first.setdefault(key, row) if key else -1 for row, key in enumerate(keys)]


def _pairs(first: Sequence[int]) -> Ints:
    """Pairs (P, 2) of each row with the first one of its group, where that is another."""
    first_N = np.array(first, dtype=np.int64)
    rows = np.flatnonzero((first_N >= 0) & (first_N != np.arange(len(first_N))))
    return np.stack([first_N[rows], rows], axis=1)


def _groups(edges_P2: Ints, num_items: int) -> Int32s:
    """First row of each row's connected component, -1 where it is alone."""
    ones = np.ones(len(edges_P2), dtype=np.int8)
    graph = coo_array((ones, (edges_P2[:, 0], edges_P2[:, 1])), shape=(num_items, num_items))
    _, component_N = connected_components(graph, directed=False)
    _, first, sizes = np.unique(component_N, return_index=True, return_counts=True)
    return np.where(sizes[component_N] > 1, first[component_N], -1).astype(np.int32)


def _similar(titles: Sequence[str], rows: Ints) -> Ints:
    """Pairs (P, 2) of `rows` whose titles have a Jaccard similarity of at least `THRESHOLD`.

    Of a title stays what its bands need, 192 bytes; its shingles are made again for the pairs that are compared.
    """
    if len(titles) < 2:
        return np.empty((0, 2), dtype=np.int64)
    starts = range(0, len(titles), CHUNK)
    pairs_P2 = _proposed(np.concatenate([_band_keys(*_shingles(titles[start : start + CHUNK])) for start in starts]))
    return rows[pairs_P2[_jaccard(titles, pairs_P2) >= THRESHOLD]]


def _shingles(titles: Sequence[str]) -> tuple[csr_array, Keys]:
    """Which title holds which run of three characters, N × G distinct ones, and the key of each run.

    Three code points of 21 bits are an exact key of 63 bits; no hash stands between text and similarity.
    """
    codes = np.frombuffer("".join(titles).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    lengths_N = np.fromiter(map(len, titles), dtype=np.int64, count=len(titles))
    title_of = np.repeat(np.arange(len(titles)), lengths_N)
    keys = (codes[:-2] << np.uint64(42)) | (codes[1:-1] << np.uint64(21)) | codes[2:]
    within = title_of[:-2] == title_of[2:]
    keys_G, shingle = np.unique(keys[within], return_inverse=True)
    title = title_of[:-2][within]
    members = csr_array((np.ones(len(title), dtype=np.int32), (title, shingle)), shape=(len(titles), len(keys_G)))
    members.sum_duplicates()
    members.data[:] = 1
    return members, keys_G


def _band_keys(members: csr_array, keys_G: Keys) -> Keys:
    """One key per title and band (N, bands) of the MinHash signatures: titles that share one are compared."""
    from datasketch import MinHash

    empty = MinHash(BANDS * BAND_ROWS, hashfunc=int)
    hashes_G = (keys_G * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    keys = np.empty((members.shape[0], BANDS), dtype=np.uint64)
    odd = np.uint64(0x9E3779B97F4A7C15) ** np.arange(1, BAND_ROWS + 1, dtype=np.uint64)
    for row in range(members.shape[0]):
        signature = empty.copy()
        signature.update_batch(hashes_G[members.indices[members.indptr[row] : members.indptr[row + 1]]].tolist())
        keys[row] = (signature.hashvalues.reshape(BANDS, BAND_ROWS).astype(np.uint64) * odd).sum(1)
    return keys


def _proposed(keys: Keys) -> Ints:
    """Distinct pairs (P, 2), the lower row first, that share the key of a band and are near in its bucket."""
    num = len(keys)
    found = [np.empty(0, dtype=np.int64)]
    for band in range(keys.shape[1]):
        order = np.argsort(keys[:, band], kind="stable")
        bucket = keys[order, band]
        for step in range(1, min(NEIGHBOURS, num - 1) + 1):
            same = bucket[step:] == bucket[:-step]
            if not same.any():
                break
            found.append(order[:-step][same] * num + order[step:][same])
        if sum(map(len, found)) > MAX_PAIRS:  # alike titles meet in every band
            found = [np.unique(np.concatenate(found))]
    return np.stack(np.divmod(np.unique(np.concatenate(found)), num), axis=1)


def _jaccard(titles: Sequence[str], pairs_P2: Ints) -> npt.NDArray[np.float64]:
    """Exact Jaccard similarity of each pair of titles."""
    similarity_P = np.zeros(len(pairs_P2))
    for start in range(0, len(pairs_P2), CHUNK):
        used, places = np.unique(pairs_P2[start : start + CHUNK], return_inverse=True)
        members, _ = _shingles([titles[row] for row in used])
        left, right = places.reshape(-1, 2).T
        shared = members[left].multiply(members[right]).sum(axis=1)
        sizes = np.diff(members.indptr)
        similarity_P[start : start + CHUNK] = shared / (sizes[left] + sizes[right] - shared)
    return similarity_P


def _read(path: Path) -> Int32s | None:
    try:
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.int32)
    except (OSError, ValueError, EOFError):  # absent, or cut by a full disk: it is made again
        return None


def _keep(path: Path, groups: Int32s) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            np.save(file, groups)
        partial.replace(path)
    except OSError:  # a folder that cannot be written, or a full disk: it is computed again next time
        partial.unlink(missing_ok=True)
