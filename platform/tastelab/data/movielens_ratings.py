"""MovieLens' ratings → one stream in order of time, with the first rating that each user gave each film."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from tastelab.data.mind_blocks import read_blocks
from tastelab.data.movielens_layout import PLACES, RawMovieLens
from tastelab.data.quarantine import BadLine, Quarantine

Ints = npt.NDArray[np.int64]

BEST, WORST = 5.0, 0.5
LAST_TIME = 4_102_444_800
"""The year 2100: times in milliseconds lie beyond it."""


@dataclass(frozen=True)
class Ratings:
    """First ratings in order of time, S of them; equal times stay in the order of the file."""

    users_S: npt.NDArray[np.int32]
    items_S: npt.NDArray[np.int32]  # rows of the item table
    signs_S: npt.NDArray[np.int8]  # +1 liked, -1 disliked, 0 neither
    times_S: Ints  # seconds
    user_ids: list[str]
    num_lines: int
    """Well-formed lines, later ratings of the same film by the same user included."""


def read_ratings(
    release: RawMovieLens,
    items: pa.Table,
    liked_from: float,
    disliked_to: float,
    quarantine: Quarantine,
    advance: Callable[[int], object],
) -> Ratings:
    """Read the file of ratings block by block; malformed lines go to `quarantine`, which fails if they are too many."""
    label, places = release.ratings.label, [int(place) for place in PLACES]
    film_ids = items["item_id"].to_pylist()
    film_rows = pl.DataFrame({"item": film_ids, "row": np.arange(len(film_ids), dtype=np.int32)})
    users: dict[str, int] = {}
    parts: list[pl.DataFrame] = []
    num_lines = num_bad = 0
    for first, text in read_blocks(release.ratings, advance):
        lines = text.decode("utf-8", "backslashreplace").split("\n")[:-1]
        if first == 1 and release.layout.has_header:
            places = _header_places(lines.pop(0), release)
            first = 2
        block = _parse(lines, first, release.layout.ratings_separator, places, film_rows)
        bad = block.filter(pl.col("reason").is_not_null()).select("number", "reason", "line").rows()
        num_lines += block.height
        num_bad += quarantine.add("all", label, [BadLine(n, why, line.encode()) for n, why, line in bad])
        parts.append(_coded(block.filter(pl.col("reason").is_null()), users, liked_from, disliked_to))
    quarantine.check(label, num_lines, num_bad)
    return _in_time(pl.concat(parts), list(users), len(film_ids))


def _header_places(header: str, release: RawMovieLens) -> list[int]:
    names = [name.split(":")[0].strip() for name in header.split(release.layout.ratings_separator)]
    if missing := [name for name in release.layout.rating_columns if name not in names]:
        raise ValueError(f"{release.ratings.label} has no column '{missing[0]}': its first line must name the columns.")
    return [names.index(name) for name in release.layout.rating_columns]


def _parse(lines: list[str], first: int, separator: str, places: list[int], film_rows: pl.DataFrame) -> pl.DataFrame:
    """Return number, line, user, row, rating, time and reason (null: well-formed) of every line that is not blank."""
    frame = pl.DataFrame({"line": lines}, schema={"line": pl.String}).with_row_index("number", first)
    frame = frame.filter(pl.col("line").str.strip_chars() != "").with_columns(
        fields=pl.col("line").str.split(separator)
    )
    field = pl.col("fields").list
    values = {
        name: field.get(place, null_on_oob=True).str.strip_chars()
        for name, place in zip(("user", "item", "rating", "time"), places, strict=True)
    }
    frame = frame.with_columns(num=field.len(), **values).join(film_rows, on="item", how="left", maintain_order="left")
    numbers = frame.with_columns(pl.col("rating", "time").cast(pl.Float64, strict=False))
    columns = max(places) + 1
    truncated = pl.format("truncated: {} of {} columns", pl.col("num"), pl.lit(columns))
    return numbers.with_columns(
        reason=pl.when(pl.col("num") < columns)
        .then(truncated)
        .when(pl.col("user") == "")
        .then(pl.lit("empty user"))
        .when(pl.col("row").is_null())
        .then(pl.lit("unknown film"))
        .when(~pl.col("rating").is_between(WORST, BEST).fill_null(False))
        .then(pl.lit(f"rating not a number of {WORST:g} to {BEST:g}"))
        .when(~pl.col("time").is_between(1, LAST_TIME).fill_null(False))
        .then(pl.lit("time missing or unparsable"))
    )


def _coded(block: pl.DataFrame, users: dict[str, int], liked_from: float, disliked_to: float) -> pl.DataFrame:
    """Number the users in order of appearance, and keep four small columns."""
    new = block["user"].unique(maintain_order=True).to_list()
    codes = pl.DataFrame({"user": new, "code": [users.setdefault(user, len(users)) for user in new]})
    coded = block.join(codes.cast({"user": pl.String}), on="user", how="left", maintain_order="left")
    liked, disliked = pl.col("rating") >= liked_from, pl.col("rating") <= disliked_to
    return coded.select(
        user=pl.col("code").cast(pl.Int32),
        item=pl.col("row"),
        sign=(liked.cast(pl.Int8) - disliked.cast(pl.Int8)),
        time=pl.col("time").cast(pl.Int64),
    )


def _in_time(ratings: pl.DataFrame, user_ids: list[str], num_items: int) -> Ratings:
    order = np.argsort(ratings["time"].to_numpy(), kind="stable")
    users, items = ratings["user"].to_numpy()[order], ratings["item"].to_numpy()[order]
    _, first = np.unique(users.astype(np.int64) * num_items + items, return_index=True)
    first.sort()
    kept = order[first]
    signs, times = ratings["sign"].to_numpy()[kept], ratings["time"].to_numpy()[kept]
    return Ratings(users[first], items[first], signs, times, user_ids, len(order))
