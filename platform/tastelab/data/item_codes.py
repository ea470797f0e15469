"""Facts of items as codes: what an item tower embeds [B], methods.md §6.

Shape letters: N items, M tags, F width of text vectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tastelab.data.tables import PreparedData

if TYPE_CHECKING:
    from tastelab.schema import Catalogue

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

ABSENT = -1
MAX_TAGS = 8
CLUSTER_ITERATIONS = 20
POINTS_PER_CLUSTER = 256


def catalogue(
    data: PreparedData,
    clicked_N: Bools,
    text_NF: npt.NDArray[np.floating] | None = None,
    tokens_NT: npt.NDArray[np.integer] | None = None,
    lengths_N: npt.NDArray[np.integer] | None = None,
    category_N: Ints | None = None,
    max_tags: int = MAX_TAGS,
) -> Catalogue:
    """Code the facts of all items; "" is absent, -1, and a column that is absent throughout has no codes at all.

    Args:
        data: the prepared data set. Sources are its column `community`; tags are `subcategory`, then `entities`, both
            split at commas.
        clicked_N: which items training sees clicked.
        text_NF: unit vectors of a frozen encoder.
        tokens_NT: token ids of all items, right-padded.
        lengths_N: tokens of each item.
        category_N: codes from 0 in place of the column `category`, such as those of `clusters_as_categories`.
        max_tags: tags kept of an item, the first ones.

    Raises:
        ValueError: an array is not as long as the item table.
    """
    import torch

    from tastelab.schema import Catalogue

    given = {"clicked_N": clicked_N, "text_NF": text_NF, "tokens_NT": tokens_NT, "category_N": category_N}
    for name, values in (given | {"lengths_N": lengths_N}).items():
        if values is not None and len(values) != data.num_items:
            raise ValueError(f"{name} has {len(values)} rows for {data.num_items} items: give one row for each item.")
    coded, num_categories = _codes(data, "category")
    if category_N is not None:
        coded, num_categories = category_N, int(category_N.max(initial=ABSENT)) + 1
    source_N, num_sources = _codes(data, "community")
    tags_NM, num_tags = item_tags(data, max_tags)
    return Catalogue(
        num_items=data.num_items,
        known_N=torch.from_numpy(np.array(clicked_N, np.bool_)),
        category_N=torch.from_numpy(np.array(coded, np.int64)),
        num_categories=num_categories,
        source_N=torch.from_numpy(source_N),
        num_sources=num_sources,
        tags_NM=torch.from_numpy(tags_NM),
        num_tags=num_tags,
        text_NF=None if text_NF is None else torch.from_numpy(np.asarray(text_NF)),
        tokens_NT=None if tokens_NT is None else torch.from_numpy(np.asarray(tokens_NT, np.int32)),
        lengths_N=None if lengths_N is None else torch.from_numpy(np.asarray(lengths_N, np.int64)),
    )


def item_tags(data: PreparedData, max_tags: int = MAX_TAGS) -> tuple[npt.NDArray[np.int32], int]:
    """Return the codes of each item's first distinct tags, (N, M) with -1 behind them, and the number of tags."""
    table = data.items(["subcategory", "entities"])
    joined = pc.binary_join_element_wise(table["subcategory"], table["entities"], ",")
    split = pc.split_pattern(joined, ",")
    words = pc.utf8_trim_whitespace(pa.concat_arrays([pa.array([], pa.string()), *pc.list_flatten(split).chunks]))
    lengths_N = pc.list_value_length(split).to_numpy()
    codes = words.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    owner = np.repeat(np.arange(len(lengths_N)), lengths_N)
    first = np.zeros(len(codes), np.bool_)
    first[np.unique(owner * (len(codes) + 1) + codes, return_index=True)[1]] = True
    kept = np.flatnonzero(first & pc.not_equal(words, "").to_numpy(zero_copy_only=False))
    place = _places(owner[kept])
    kept, place = kept[place < max_tags], place[place < max_tags]
    used, dense = np.unique(codes[kept], return_inverse=True)
    tags_NM = np.full((len(lengths_N), int(place.max(initial=-1)) + 1), ABSENT, np.int32)
    tags_NM[owner[kept], place] = dense
    return tags_NM, len(used)


def clusters_as_categories(text_NF: npt.NDArray[np.floating], num_clusters: int, seed: int) -> Ints:
    """Cluster unit text vectors by spherical k-means: codes in place of categories; an all-zero vector has none, -1.

    Raises:
        ValueError: there are more clusters than items with text, or a vector is not finite.
    """
    import faiss

    if not np.isfinite(text_NF).all():
        raise ValueError("A text vector is not finite: compute the text vectors again before items are clustered.")
    with_text = np.flatnonzero(np.any(text_NF != 0, axis=1))
    if not 1 <= num_clusters <= len(with_text):
        raise ValueError(
            f"{num_clusters} clusters of {len(with_text)} items with text: use from 1 to {len(with_text)} clusters."
        )
    vectors = np.ascontiguousarray(text_NF[with_text], np.float32)
    means = faiss.Kmeans(
        vectors.shape[1],
        num_clusters,
        niter=CLUSTER_ITERATIONS,
        seed=seed,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=POINTS_PER_CLUSTER,
    )
    means.train(vectors)
    codes_N = np.full(len(text_NF), ABSENT, np.int64)
    codes_N[with_text] = means.index.search(vectors, 1)[1][:, 0]
    return codes_N


def has_categories(data: PreparedData) -> bool:
    """Tell whether any item of a data set has a category."""
    return _codes(data, "category")[1] > 0


def _codes(data: PreparedData, name: str) -> tuple[Ints, int]:
    """Codes of an item column in order of first appearance, and their number; -1 where it is empty."""
    if not data.has_item_column(name):
        return np.full(data.num_items, ABSENT), 0
    column = data.items([name])[name]
    texts = pc.if_else(pc.equal(column, ""), None, column)
    encoded = pa.concat_arrays([pa.array([], pa.string()), *texts.chunks]).dictionary_encode()
    codes = pc.fill_null(encoded.indices, ABSENT).to_numpy(zero_copy_only=False)
    return codes.astype(np.int64), len(encoded.dictionary)


def _places(owner: Ints) -> Ints:
    """Place of each value among those of its owner; owners are sorted."""
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    return np.arange(len(owner)) - np.repeat(starts, np.diff(starts, append=len(owner)))
