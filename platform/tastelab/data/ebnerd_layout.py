"""Where EB-NeRD's parquet files lie: articles beside one folder per split, in a folder or a zip."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tastelab.data.mind_layout import Node, RawFile, as_file, as_node, folders

HOLDS = "articles.parquet with train/behaviors.parquet and train/history.parquet (also validation and test)"
SPLITS = {"train": "train", "validation": "dev", "test": "test"}
"""Folder → split."""


@dataclass(frozen=True)
class RawEbnerd:
    """The files of a bundle: articles, and (behaviors, history) per split in the order train, dev, test."""

    articles: RawFile
    splits: dict[str, tuple[RawFile, RawFile]]

    @property
    def files(self) -> list[RawFile]:
        """All files that are read."""
        return [self.articles, *(file for pair in self.splits.values() for file in pair)]


def find_bundle(source: Path) -> RawEbnerd | None:
    """Find a bundle in a folder or zip, or in one folder in it; None where there is nothing of EB-NeRD.

    Raises:
        ValueError: There are several, a file of a split is missing, or a zip is damaged.
    """
    source = source.absolute()
    root = as_node(source)
    found = [node for node in [root, *folders(root)] if (node / "articles.parquet").is_file()]
    if len(found) > 1 and found[0] is not root:
        names = ", ".join(node.name for node in found)
        raise ValueError(f"{source} holds several data sets ({names}): pass one of them.")
    return _bundle(found[0], source) if found else None


def _bundle(node: Node, source: Path) -> RawEbnerd:
    splits = {}
    for folder, split in SPLITS.items():
        if not (node / folder).is_dir():
            continue
        for name in ("behaviors.parquet", "history.parquet"):
            if not (node / folder / name).is_file():
                raise ValueError(f"{source} holds no {folder}/{name}: the split '{split}' needs it.")
        files = [as_file(node / folder / name, source) for name in ("behaviors.parquet", "history.parquet")]
        splits[split] = (files[0], files[1])
    if not splits:
        raise ValueError(f"{source} holds articles.parquet and no split: it must hold {HOLDS}.")
    return RawEbnerd(as_file(node / "articles.parquet", source), splits)


@contextmanager
def on_disk(file: RawFile, folder: Path) -> Iterator[Path]:
    """Give a path to read: the file's own, or a copy in `folder` while a member of a zip is in use.

    Parquet is read from its end and in parts, which a compressed member does not allow.
    """
    if isinstance(file.node, Path):
        yield file.node
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unzipped-", dir=folder) as place:
        copy = Path(place) / file.node.name
        try:
            with file.open() as member, copy.open("wb") as stream:
                shutil.copyfileobj(member, stream, 2**20)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{file.label} is damaged ({error}): download its zip again.") from error
        yield copy


def open_table(path: Path, label: str, columns: Sequence[str]) -> pq.ParquetFile:
    """Open a parquet file; raise `ValueError` if it is none, is empty or lacks a column."""
    try:
        table = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{label} is no complete parquet file ({error}): download it again.") from None
    if missing := [name for name in columns if name not in table.schema_arrow.names]:
        raise ValueError(f"{label} has no column '{missing[0]}': EB-NeRD's tables have {', '.join(columns)}.")
    if not table.metadata.num_rows:
        raise ValueError(f"{label} holds no rows.")
    return table
