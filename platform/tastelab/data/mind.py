"""MIND's layout (`news.tsv` and `behaviors.tsv` per split) → a prepared data set.

Behaviors are read in blocks, parsed by threads and written in file order, so memory does not grow with their number.
The history is kept whole: how much of it a model sees is decided when it is trained.
"""

from __future__ import annotations

from pathlib import Path

from tastelab.data.mind_impressions import ItemRows, read_impressions
from tastelab.data.mind_layout import find_splits
from tastelab.data.mind_news import as_item_table, merge, read_items
from tastelab.data.progress import bar_of
from tastelab.data.quarantine import Quarantine
from tastelab.data.tables import DatasetWriter, PreparedData, open_prepared

MAX_BAD_SHARE = 0.01
MAX_UNKNOWN_SHARE = 0.01


def prepare(
    source: Path,
    target: Path,
    *,
    name: str | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
    max_unknown_share: float = MAX_UNKNOWN_SHARE,
    progress: bool = True,
) -> PreparedData:
    """Prepare a folder or zip in MIND's layout.

    Args:
        source: What holds the splits; `mind_layout` says which layouts are understood.
        target: Folder to write; it appears only when it is complete.
        name: Label of the data set; the name of `source` unless given.
        max_bad_share: Share of a file's lines that may be malformed. They are left out and listed in `quarantine.tsv`
            inside `target`, or beside it if the preparation fails.
        max_unknown_share: Share of the distinct items that impressions name which no news file may hold. They become
            items without text.
        progress: Show a bar.

    `meta.json` also holds `files` (of each split), `quarantine` (lines and malformed lines per file, number
    per reason), `num_items_named` and `num_items_unknown`.

    Raises:
        ValueError: The layout is incomplete, a file is empty or damaged, or a share is exceeded.
    """
    if not 0 <= max_unknown_share <= 1:
        raise ValueError(f"The share of unknown items that is tolerated lies in 0..1, not {max_unknown_share}.")
    splits = find_splits(source)
    name = name or source.absolute().name.removesuffix(".zip")
    files = {each.split: [each.news.label, each.behaviors.label] for each in splits}
    num_bytes = sum(each.news.size + each.behaviors.size for each in splits)
    bad_lines = Quarantine(target.with_name(f"{target.name}.quarantine.tsv"), max_bad_share)
    with bad_lines as quarantine, bar_of(num_bytes, f"preparing {name}", progress) as bar:
        items = merge([read_items(each.split, each.news, quarantine, bar.update) for each in splits])
        rows = ItemRows(items["item_id"].to_list())
        with DatasetWriter(target, name, source="mind", files=files) as writer:
            for each in splits:
                for impressions in read_impressions(each.split, each.behaviors, rows, quarantine, bar.update):
                    writer.write_impressions(each.split, impressions)
            rows.check(max_unknown_share)
            writer.write_items(as_item_table(items, list(rows.unknown)))
            writer.extra |= {"num_items_named": rows.num_named, "num_items_unknown": len(rows.unknown)}
            writer.extra |= {"quarantine": quarantine.summary()}
            quarantine.move_to(writer.file("quarantine.tsv"))
    return open_prepared(target)
