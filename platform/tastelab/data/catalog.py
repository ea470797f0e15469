"""What `--data` may say → a prepared data set: a known name, a prepared folder, a raw folder, or several to join."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tastelab.data import join, mind
from tastelab.data.corpora import HOLDS, find_raw, prepare_mind
from tastelab.data.download import UNKNOWN, DownloadError, Expected, fetch
from tastelab.data.progress import bar_of
from tastelab.data.tables import PreparedData, open_prepared
from tastelab.schema import SPLITS

MIRROR_VARIABLE = "TASTELAB_MIND_MIRROR"
DEFAULT_MIRROR = "https://huggingface.co/datasets/Recommenders/MIND/resolve/main"
HOME_PAGE = "https://msnews.github.io"

MIND: Mapping[str, Mapping[str, Expected]] = {
    "mind-demo": {
        "MINDdemo_train.zip": Expected(17_372_879),
        "MINDdemo_dev.zip": Expected(10_080_022),
    },
    "mind-small": {
        "MINDsmall_train.zip": Expected(52_994_575, "6ef97a271580b98ccfc4301ada55cc639423cb0576a78b8dcfcf74a4dbcc3194"),
        "MINDsmall_dev.zip": Expected(30_948_560, "d6ce515dcaa6b6d47ddf0a326eebc8a31b84735ae410285c9882ca2a06eec669"),
    },
    "mind-large": {
        "MINDlarge_train.zip": Expected(531_360_717),
        "MINDlarge_dev.zip": Expected(103_592_887),
    },
    "mind-large-test": {"MINDlarge_test.zip": UNKNOWN},
}
"""Files of each name and what is known of them on the default mirror; another mirror is not held to it."""


@dataclass(frozen=True)
class PublishedSize:
    """Impressions of a data set that may not be here yet."""

    train: int
    dev: int


PUBLISHED = {"mind-small": PublishedSize(156_965, 73_152), "mind-large": PublishedSize(2_232_748, 376_471)}
"""Impressions as their publishers count them."""


@dataclass(frozen=True)
class Options:
    """How to fetch and prepare; of no effect on what is cached already unless `force`."""

    max_bad_share: float = mind.MAX_BAD_SHARE
    max_unknown_share: float = mind.MAX_UNKNOWN_SHARE
    mirror: str | None = None  # default: the environment's TASTELAB_MIND_MIRROR, else DEFAULT_MIRROR
    force: bool = False  # prepare again


def resolve(data: str, home: Path, *, progress: bool = True, options: Options | None = None) -> PreparedData:
    """Return the prepared data set that `data` stands for, fetching and preparing it if need be.

    Args:
        data: A name (see `names`), a prepared folder, a folder or zip of raw files (of the corpora of `corpora`), or
            several of these with commas between, which are joined.
        home: Where downloads (`downloads/`) and prepared data sets (`datasets/`) are kept.
        progress: Show bars.
        options: How to fetch and prepare.

    Raises:
        ValueError: `data` is none of these, or cannot be prepared.
        DownloadError: The files cannot be fetched; the message says where to get them by hand.
    """
    options = options or Options()
    path = Path(data).expanduser()
    if data in MIND:
        return _named_mind(data, home, progress, options)
    if data in (worlds := _worlds()):
        return _world(data, *worlds[data], home, progress, options)
    if (path / "meta.json").is_file():
        return _as_prepared(path, options)
    if path.is_dir() or (path.is_file() and path.suffix == ".zip"):
        return _raw(path, home, progress, options)
    if "," in data:
        return _joined(data, home, progress, options)
    raise ValueError(
        f"'{data}' is neither a known data set ({', '.join(names())}) nor a folder: "
        f"pass one of these names, a prepared folder, or a folder that holds {HOLDS}."
    )


def here(data: str, home: Path) -> PreparedData | None:
    """Return what `resolve` would, or None where that means a download."""
    if data in MIND:
        return _cached(home / "datasets" / data, Options())
    if "," in data and not Path(data).expanduser().exists():
        return resolve(data, home) if all(here(part, home) for part in _parts(data)) else None
    return resolve(data, home)


def names() -> list[str]:
    """Return the names that `resolve` knows."""
    return [*_worlds(), *MIND]


def describe(data: PreparedData) -> str:
    """Return a summary for a person: contents, and what was left out when it was prepared."""
    lines = [f"{data.name}  {data.fingerprint}  {data.path}", f"  items   {data.num_items:>9,}"]
    if unknown := data.meta.get("num_items_unknown"):
        lines[-1] += f", {unknown:,} of them only named by impressions, without text"
    for split in sorted(data.splits, key=SPLITS.index):
        unlabelled = "" if data.has_labels(split) else ", without labels"
        lines.append(f"  {split:<7} {data.num_impressions(split):>9,} impressions{unlabelled}")
    if reasons := data.meta.get("quarantine", {}).get("reasons"):
        lines.append(
            f"  left out {sum(reasons.values()):>8,} malformed lines, listed in {data.path / 'quarantine.tsv'}:"
        )
        lines += [f"  {count:>17,} {reason}" for reason, count in reasons.items()]
    return "\n".join(lines)


def _worlds() -> dict[str, tuple[ModuleType, str]]:
    """Return name → generator and size: 'synthetic' and 'exposure' are of the default size."""
    from tastelab.data import exposure_log, synthetic

    worlds = {"synthetic": synthetic, "exposure": exposure_log}
    return {
        name if size == "default" else f"{name}-{size}": (world, size)
        for name, world in worlds.items()
        for size in world.SIZES
    }


def _world(name: str, world: ModuleType, size: str, home: Path, progress: bool, options: Options) -> PreparedData:
    """Write a synthetic world once per specification of it."""
    version = f"{world.SIZES[size]!r} {getattr(world, 'VERSION', 1)}"
    target = home / "datasets" / f"{name}-{_digest(version)}"
    if found := _cached(target, options):
        return found
    with bar_of(None, f"writing {name}", progress, unit="") as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        prepared: PreparedData = world.prepare(target, size, progress=advance)
        return prepared


def _named_mind(name: str, home: Path, progress: bool, options: Options) -> PreparedData:
    target = home / "datasets" / name
    if found := _cached(target, options):
        return found
    folder = home / "downloads" / name
    download_mind(name, folder, options.mirror, progress=progress)
    return prepare_mind(folder, target, name, options.max_bad_share, options.max_unknown_share, progress)


def download_mind(name: str, folder: Path, mirror: str | None = None, *, progress: bool = True) -> None:
    """Fetch the zips of a name of `MIND` into `folder`.

    Raises:
        DownloadError: They cannot be fetched; the message says where to get them by hand.
    """
    mirror = (mirror or os.environ.get(MIRROR_VARIABLE) or DEFAULT_MIRROR).rstrip("/")
    try:
        for file, known in MIND[name].items():
            fetch(f"{mirror}/{file}", folder / file, known if mirror == DEFAULT_MIRROR else UNKNOWN, progress=progress)
    except DownloadError as error:
        raise DownloadError(
            f"{name} could not be downloaded ({error}): get {' and '.join(MIND[name])} by hand from {HOME_PAGE}, put "
            f"them in one folder and pass that folder, or name another mirror in {MIRROR_VARIABLE}."
        ) from error


def _as_prepared(path: Path, options: Options) -> PreparedData:
    if options.force:
        raise ValueError(f"{path} is prepared already: pass the raw files to prepare them again.")
    return open_prepared(path)


def _raw(path: Path, home: Path, progress: bool, options: Options) -> PreparedData:
    """Prepare a raw folder or zip once per state of its files."""
    name = path.absolute().name.removesuffix(".zip")
    raw = find_raw(path)
    stats = [(file.label, file.origin.stat()) for file in raw.files]
    state = repr([(label, stat.st_size, stat.st_mtime_ns) for label, stat in stats]) + raw.version
    target = home / "datasets" / f"{_slug(name)}-{_digest(state)}"
    shares = options.max_bad_share, options.max_unknown_share
    return _cached(target, options) or raw.prepare(target, name, *shares, progress)


def _parts(data: str) -> list[str]:
    return [part.strip() for part in data.split(",") if part.strip()]


def _joined(data: str, home: Path, progress: bool, options: Options) -> PreparedData:
    """Join data sets once per content of them."""
    parts = join.ordered([resolve(part, home, progress=progress, options=options) for part in _parts(data)])
    name = "+".join(part.name for part in parts)
    version = f"{[part.fingerprint for part in parts]} {join.VERSION}"
    target = home / "datasets" / f"{_slug(name)}-{_digest(version)}"
    return _cached(target, options) or join.join(parts, target, name)


def _cached(target: Path, options: Options) -> PreparedData | None:
    """Open what was prepared before; a folder of another format is prepared again."""
    if options.force:
        return None
    try:
        return open_prepared(target)
    except ValueError:
        return None


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name) or "data"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
