"""News files → the item table: the first occurrence of an id wins, ids without a line become items without text."""

from __future__ import annotations

import json
from collections.abc import Callable

import polars as pl
import pyarrow as pa

from tastelab.data.mind_blocks import read_blocks, well_formed
from tastelab.data.mind_layout import RawFile
from tastelab.data.quarantine import BadLine, Quarantine
from tastelab.schema import ITEMS

NUM_COLUMNS = (6, 8)  # without and with the two columns of entities
COLUMNS = ("item_id", "category", "subcategory", "title", "abstract", "url", "title_entities", "abstract_entities")


def read_items(split: str, file: RawFile, quarantine: Quarantine, advance: Callable[[int], object]) -> pl.DataFrame:
    """Read one news file; malformed lines go to `quarantine`, which fails if they are too many."""
    frames, num_lines, num_bad = [], 0, 0
    for number, text in read_blocks(file, advance):
        block, bad = well_formed(number, text, NUM_COLUMNS)
        nameless = [BadLine(number, "empty id", line) for number, line in block.lines() if line.startswith(b"\t")]
        num_lines += block.num_lines + len(bad)
        num_bad += quarantine.add(split, file.label, sorted(bad + nameless))
        frames.append(_frame(block.text))
    quarantine.check(file.label, num_lines, num_bad)
    return pl.concat(frames)


def merge(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Append the items of all splits in order; of several with one id the first stays."""
    return pl.concat(frames).unique("item_id", keep="first", maintain_order=True)


def as_item_table(items: pl.DataFrame, unknown_ids: list[str]) -> pa.Table:
    """Return the table of `schema.ITEMS`, with an item without text for each unknown id behind the others."""
    texts = [name for name in ITEMS.names if name not in ("item_id", "created", "has_text")]
    nothing = pl.DataFrame({"item_id": unknown_ids}, schema={"item_id": pl.String}).with_columns(
        *(pl.lit("").alias(name) for name in texts), has_text=pl.lit(False)
    )
    known = items.with_columns(body=pl.lit(""), has_text=pl.lit(True))
    table = pl.concat([known, nothing.select(known.columns)]).to_arrow()
    return table.append_column("created", pa.nulls(table.num_rows, pa.timestamp("s"))).select(ITEMS.names).cast(ITEMS)


def _frame(text: bytes) -> pl.DataFrame:
    lines = pl.Series("line", text.decode().split("\n")[:-1], pl.String)
    fields = lines.to_frame().select(pl.col("line").str.split("\t"))
    columns = fields.select(
        pl.col("line").list.get(place, null_on_oob=True).fill_null("").alias(name) for place, name in enumerate(COLUMNS)
    )
    entities = pl.Series("entities", list(map(labels_of, *columns.select(COLUMNS[6:]))), pl.String)
    return columns.select(*COLUMNS[:5], entities).filter(pl.col("item_id") != "")


def labels_of(*entities: str) -> str:
    """Return the distinct labels in JSON lists of entities, in order, joined by commas; "" for what is no such list."""
    labels: dict[str, None] = {}
    for text in entities:
        if text not in ("", "[]"):
            labels |= dict.fromkeys(_labels(text))
    return ", ".join(labels)


def _labels(text: str) -> list[str]:
    try:
        return [str(entity["Label"]) for entity in json.loads(text)]
    except (ValueError, TypeError, KeyError):  # an item without entities is worth more than none
        return []
