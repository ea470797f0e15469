"""Public feeds → a prepared data set of impressions, on Ray Data.

Three pipelines: pieces of feeds are read into hashed parts; parts become engagements in buckets of people, once replies
are resolved to items and accounts to people; buckets become impressions. Then splits are cut and tables written.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tastelab.data.mix.buckets import Bucket
from tastelab.data.mix.engagements import Engage, Lookup, PartTask
from tastelab.data.mix.facts import Facts
from tastelab.data.mix.gather import Gather
from tastelab.data.mix.gathered import Gathered
from tastelab.data.mix.items import Catalog, catalog, roots_as_rows
from tastelab.data.mix.options import MixOptions
from tastelab.data.mix.report import counted, no_impressions
from tastelab.data.mix.roots import NO_ITEM
from tastelab.data.mix.sources import Source, SourcePiece, cut, parse_sources
from tastelab.data.mix.splits import cuts
from tastelab.data.mix.tasks import Answer, Each, on_ray
from tastelab.data.mix.windows import Rules
from tastelab.data.mix.write import Windows, described, item_table, write
from tastelab.data.quarantine import Quarantine
from tastelab.data.tables import PreparedData, open_prepared

__all__ = ["Facts", "MixOptions", "Plan", "build_mix", "plan"]

FUTURE_S = 86_400
"""How far a clock may be ahead of ours before its times are implausible."""


@dataclass(frozen=True)
class Plan:
    """A build that is possible, as far as can be told without reading: sources, their pieces, the target."""

    sources: list[Source]
    pieces: list[SourcePiece]
    out: Path
    options: MixOptions


def plan(sources: Sequence[str], out: Path, options: MixOptions) -> Plan:
    """Check what a user can get wrong before any work.

    Raises:
        ValueError: A source is unknown or not what its reader takes, or `out` exists and is not to be replaced, is no
            data set, or holds a source.
    """
    if out.exists() and not options.force:
        raise ValueError(f"{out} exists: choose another --out, or replace it with --force.")
    found = parse_sources(sources)
    if out.exists():
        _check_replaceable(out, found)
    return Plan(found, cut(found), out, options)


def _check_replaceable(out: Path, sources: Sequence[Source]) -> None:
    """Refuse to remove what no build has written."""
    if not (out / "meta.json").is_file():
        raise ValueError(f"{out} is no data set, so --force does not remove it: choose another --out.")
    for source in sources:
        if source.path.resolve().is_relative_to(out.resolve()):
            raise ValueError(f"{source.path} lies in {out}, which --force would remove: choose another --out.")


def build_mix(
    sources: Sequence[str], out: Path, options: MixOptions | None = None, each: Each = on_ray
) -> PreparedData:
    """Build a data set of impressions from public feeds (methods §7, after [A] §1).

    `out` becomes a prepared data set of the last impression of each person per split, and `out/all` one of every
    impression, of the same items; beside them `card.md`, `card.json` and `quarantine.tsv`, which lists malformed
    records by file, number and reason, without their text: that may name people. Nothing appears at `out` before all
    is there.

    Args:
        sources: `feed:path` texts; `feeds.base.FEEDS` lists the feeds.
        out: Folder to write. On a cluster it lies on storage that all nodes see.
        options: How; the defaults unless given.
        each: Runs tasks: on the Ray that is connected, or `tasks.here` in this process.

    Returns:
        The data set of last impressions.

    Raises:
        ValueError: A source, an option or the target is wrong, a file has too many malformed records, or there are
            too few engagements for a train and a dev split.
    """
    return build(plan(sources, out, options or MixOptions()), each)


def build(planned: Plan, each: Each = on_ray) -> PreparedData:
    """Build what was planned, as `build_mix` says."""
    out, options = planned.out, planned.options
    out.parent.mkdir(parents=True, exist_ok=True)
    quarantine_file = out.with_name(f"{out.name}.quarantine.tsv")
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.building-", dir=out.parent)).absolute()
    try:
        with Quarantine(quarantine_file, options.max_bad_share) as quarantine:
            finished = _Build(planned, each, scratch).run(quarantine)
            quarantine.move_to(finished / "quarantine.tsv")
        shutil.rmtree(out, ignore_errors=True)
        finished.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return open_prepared(out)


@dataclass
class _Build:
    """One build: its stages in order."""

    plan: Plan
    each: Each
    scratch: Path
    timings: dict[str, float] = field(default_factory=dict)

    def run(self, quarantine: Quarantine) -> Path:
        """Run all stages; return the folder of the finished data set, within the scratch folder."""
        options, key = self.plan.options, self.plan.options.key()
        with self._timed("reading"):
            gathered = self._gather(quarantine, key)
        with self._timed("resolving"):
            items, dropped = self._resolve(gathered)
        with self._timed("engagements"):
            answers, num_buckets = self._engage(gathered)
            dropped.update(_summed(answer["dropped"] for answer in answers))
        with self._timed("impressions"):
            bucket = Bucket(
                self._folder("events"), self.scratch / "timelines", len(answers), gathered.kinds, self._rules(), key
            )
            answers = self.each(bucket, range(num_buckets), "making impressions", options.progress)
        facts = counted(gathered, items, answers, dropped, options, self.timings)
        if not facts.notes["impressions"]:
            raise ValueError(no_impressions(answers, facts, options))
        with self._timed("writing"):
            times = cuts(self._folder("events"), num_buckets, len(items.timelines.names), options.dev_share)
            windows = Windows(self._folder("events"), num_buckets, times)
            name, folder = options.name or self.plan.out.absolute().name, self.scratch / "finished"
            meta = described(options, quarantine.summary())
            write(folder, name, item_table(items, key), windows, meta, options.progress)
        with self._timed("card"):
            from tastelab.data.mix.card import write_card

            write_card(folder, open_prepared(folder), open_prepared(folder / "all"), facts)
        return folder

    def _gather(self, quarantine: Quarantine, key: bytes) -> Gathered:
        work = Gather(self._folder("parts"), tuple(source.label for source in self.plan.sources), key)
        answers = self.each(work, self.plan.pieces, "reading feeds", self.plan.options.progress)
        gathered = Gathered(self.plan.sources, answers)
        gathered.set_aside(quarantine)
        return gathered

    def _resolve(self, gathered: Gathered) -> tuple[Catalog, Counter[str]]:
        """Resolve replies and accounts, order the items, and leave what tasks look up in files."""
        labels = [source.label for source in gathered.sources]
        posts = gathered.posts()
        items, dropped = catalog(gathered.parts("items"), gathered.sources_of("items"), labels, posts, _newest())
        items.timelines.save(self.scratch / "timelines")
        rows = roots_as_rows(posts, items.rows_of_posts, NO_ITEM)
        Lookup(posts.ids, rows, items.timelines.created, gathered.people()).save(self.scratch / "lookup")
        return items, dropped + posts.dropped + gathered.left_out

    def _engage(self, gathered: Gathered) -> tuple[list[Answer], int]:
        files = [(kind, file) for kind in ("posts", "reactions") for file in gathered.parts(kind)]
        num_events = gathered.num_rows("posts") + gathered.num_rows("reactions")
        num_buckets = -(-max(1, num_events) // self.plan.options.bucket_events)
        work = Engage(self.scratch / "lookup", self._folder("events"), gathered.kinds, num_buckets, _newest())
        tasks = [PartTask(kind, file, number) for number, (kind, file) in enumerate(files)]
        return self.each(work, tasks, "finding engagements", self.plan.options.progress), num_buckets

    def _rules(self) -> Rules:
        options = self.plan.options
        return Rules(options.window, options.min_history, options.max_history, options.own_posts, options.seed)

    def _folder(self, name: str) -> Path:
        folder = self.scratch / name
        folder.mkdir(exist_ok=True)
        return folder

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings[stage] = round(time.perf_counter() - start, 2)


def _newest() -> int:
    return int(time.time()) + FUTURE_S


def _summed(counts: Iterable[dict[str, int]]) -> Counter[str]:
    total = Counter[str]()
    for each in counts:
        total.update(each)
    return total
