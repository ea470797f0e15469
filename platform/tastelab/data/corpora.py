"""Which corpus a folder or zip of raw files is, told by its files, and its preparation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tastelab.data import ebnerd, mind, movielens
from tastelab.data.ebnerd_layout import HOLDS as EBNERD_HOLDS
from tastelab.data.mind_layout import HOLDS as MIND_HOLDS
from tastelab.data.mind_layout import NotMind, RawFile, find_splits
from tastelab.data.movielens_layout import HOLDS as MOVIELENS_HOLDS
from tastelab.data.tables import PreparedData

HOLDS = (
    f"{MIND_HOLDS} for MIND, {MOVIELENS_HOLDS} for MovieLens, {EBNERD_HOLDS} for EB-NeRD, or what `tastelab data "
    "build-mix` wrote"
)


@dataclass(frozen=True)
class Raw:
    """Raw files of one corpus."""

    files: list[RawFile]
    version: str
    """What a cache depends on beside the files."""
    prepare: Callable[[Path, str, float, float, bool], PreparedData]
    """Prepare into a folder, given the name, the shares of malformed lines and unknown items, and whether to show bars.
    """


def find_raw(source: Path) -> Raw:
    """Tell by its files which corpus a folder or zip is.

    Raises:
        ValueError: It is none, or one whose files are incomplete.
    """
    if files := ebnerd.files(source):
        return Raw(files, f"ebnerd {ebnerd.VERSION}", lambda *args: _ebnerd(source, *args))
    if files := movielens.files(source):
        return Raw(files, f"movielens {movielens.VERSION}", lambda *args: _movielens(source, *args))
    try:
        files = [file for split in find_splits(source) for file in (split.news, split.behaviors)]
    except NotMind:
        raise ValueError(f"{source} holds no data set that is known: it must hold {HOLDS}.") from None
    return Raw(files, "", lambda *args: prepare_mind(source, *args))


def prepare_mind(source: Path, target: Path, name: str, bad: float, unknown: float, progress: bool) -> PreparedData:
    """Prepare a folder or zip in MIND's layout."""
    return mind.prepare(source, target, name=name, max_bad_share=bad, max_unknown_share=unknown, progress=progress)


def _movielens(source: Path, target: Path, name: str, bad: float, unknown: float, progress: bool) -> PreparedData:
    return movielens.prepare(source, target, name=name, max_bad_share=bad, progress=progress)


def _ebnerd(source: Path, target: Path, name: str, bad: float, unknown: float, progress: bool) -> PreparedData:
    return ebnerd.prepare(source, target, name=name, max_bad_share=bad, max_unknown_share=unknown, progress=progress)
