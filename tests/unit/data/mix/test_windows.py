"""Impressions of a bucket, against a slow builder that follows the rule person by person."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tastelab.data.mix.engagements import EVENT, Events
from tastelab.data.mix.hashing import drawn
from tastelab.data.mix.timelines import Timelines
from tastelab.data.mix.windows import WINDOWS, Rules, impressions, taste

RULES = Rules(window=5, min_history=2, max_history=4, own_posts=False, seed=3)
SIZES = (40, 12, 1)


@pytest.fixture(scope="module")
def timelines() -> Timelines:
    """Communities of 40, 12 and 1 items, some of the same second."""
    rng = np.random.default_rng(1)
    communities = np.repeat(np.arange(3), SIZES).astype(np.int32)
    created = np.concatenate([np.sort(rng.integers(0, 60, size)) for size in SIZES])
    return Timelines.of(("a", "b", "c"), communities, created, rng.integers(1, 2**63, sum(SIZES)).astype(np.uint64))


@pytest.fixture(scope="module")
def events(timelines: Timelines) -> Events:
    """Engagements of 30 people, repeated, tied and of both signs; own posts among them."""
    rng = np.random.default_rng(2)
    found = np.empty(900, EVENT)
    found["person"] = rng.integers(1, 2**63, 30).astype(np.uint64)[rng.integers(0, 30, 900)]
    found["row"] = rng.integers(0, sum(SIZES), 900)
    found["kind"] = rng.integers(0, 4, 900)
    found["sign"] = np.where((found["kind"] > 1) & (rng.random(900) < 0.3), -1, 1)
    late = np.where(found["kind"] > 0, rng.integers(0, 20, 900), 0)
    found["time"] = timelines.created[found["row"]] + late
    return found


def slow(events: Events, timelines: Timelines, rules: Rules) -> list[dict[str, Any]]:
    """Follow the rule one engagement at a time; candidates sorted, since their order is drawn."""
    made = []
    for person in sorted(set(events["person"].tolist())):
        mine = sorted(tuple(e)[1:] for e in events[events["person"] == person].tolist())
        first: dict[int, tuple[int, int, int, int]] = {}
        for row, time, sign, kind in sorted(mine, key=lambda e: (e[1], e[3], e[2])):
            first.setdefault(row, (time, int(timelines.hashes[row]), sign, kind))
        kept = {row: e for row, e in first.items() if rules.own_posts or e[3] != 0}
        order = sorted(kept, key=lambda row: kept[row][:2])
        for rank, row in enumerate(order):
            if kept[row][2] < 0 or rank < rules.min_history:
                continue
            community = timelines.communities[row]
            shown = [r for r in np.flatnonzero(timelines.communities == community) if r == row or r not in first]
            if len(shown) < 2:
                continue
            draw = drawn(rules.seed, np.array([person], np.uint64), timelines.hashes[[row]])
            start = shown.index(row) - int(draw[0] % np.uint64(rules.window))
            start = max(0, min(start, len(shown) - rules.window))
            candidates = shown[start : start + rules.window]
            history = order[:rank][-rules.max_history :]
            signs = [kept[r][2] for r in history]
            made.append(
                {
                    "person": person,
                    "time": max(kept[row][0], *timelines.created[candidates].tolist()),
                    "history": history,
                    "feedback": signs if -1 in signs else None,
                    "candidates": [int(r) for r in candidates],
                    "clicked": row,
                    "community": community,
                }
            )
    return made


def built(events: Events, timelines: Timelines, rules: Rules) -> tuple[list[dict[str, Any]], pa.Table, Counter[str]]:
    found, counts = taste(events, timelines, rules.own_posts), Counter[str]()
    table = pa.concat_tables([WINDOWS.empty_table(), *impressions(found, timelines, rules, counts)])
    people = sorted(set(found.persons.tolist()))
    rows = table.to_pylist()
    for row in rows:
        row["person"] = people[row["person"]]
        row["clicked"] = row["candidates"][row["labels"].index(1)]
        assert sum(row.pop("labels")) == 1
        row["candidates"] = sorted(row["candidates"])
    return rows, table, counts


@pytest.mark.parametrize("own_posts", [False, True])
@pytest.mark.parametrize("min_history", [1, 5])
def test_impressions_are_what_the_rule_gives(
    events: Events, timelines: Timelines, own_posts: bool, min_history: int
) -> None:
    rules = Rules(5, min_history, 4, own_posts, 3)
    rows, _, counts = built(events, timelines, rules)
    expected = slow(events, timelines, rules)
    assert rows == expected
    assert len(rows) > 200
    assert any(row["feedback"] for row in rows)
    assert any(row["feedback"] is None for row in rows)
    assert counts["impressions with fewer candidates"] == sum(len(row["candidates"]) < 5 for row in rows) > 0
    assert counts["engagement in a community without another item to show"] > 0


def test_chunks_and_the_order_of_events_change_nothing(
    events: Events, timelines: Timelines, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole, counts = built(events, timelines, RULES)
    monkeypatch.setattr("tastelab.data.mix.windows.CHUNK_ROWS", 7)
    shuffled = events[np.random.default_rng(0).permutation(len(events))]
    _, cut, again = built(shuffled, timelines, RULES)
    assert whole.equals(cut.combine_chunks())
    assert counts == again


def test_another_seed_draws_other_places_and_orders(events: Events, timelines: Timelines) -> None:
    one, two = (built(events, timelines, Rules(5, 2, 4, False, seed))[1] for seed in (0, 1))
    assert one["candidates"].to_pylist() != two["candidates"].to_pylist()
    assert one["history"].equals(two["history"])


def test_places_and_slots_are_uniform() -> None:
    """Far from the ends of a long timeline, the click stands anywhere in the run and in the list."""
    size, people = 4_000, 3_000
    rng = np.random.default_rng(0)
    hashes = rng.integers(1, 2**63, size).astype(np.uint64)
    line = Timelines.of(("a",), np.zeros(size, np.int32), np.arange(size), hashes)
    events = np.zeros(2 * people, EVENT)
    events["person"] = np.repeat(rng.integers(1, 2**63, people).astype(np.uint64), 2)
    events["row"] = rng.integers(100, size - 100, 2 * people)
    events["time"], events["sign"], events["kind"] = size, 1, 1
    _, table, counts = built(events, line, Rules(8, 1, 9, False, 0))
    candidates, labels = (np.array(table[name].to_pylist()) for name in ("candidates", "labels"))
    clicked = candidates[labels == 1]
    assert counts["impressions shifted at the end of a timeline"] == 0
    for places in ((candidates < clicked[:, None]).sum(axis=1), labels.argmax(axis=1)):
        counted = np.bincount(places, minlength=8)
        assert ((counted - len(table) / 8) ** 2 / (len(table) / 8)).sum() < 30  # chi-square with 7 degrees of freedom


def test_a_run_at_the_end_of_a_timeline_is_shifted_and_counted() -> None:
    line = Timelines.of(("a",), np.zeros(10, np.int32), np.arange(10), np.arange(1, 11).astype(np.uint64))
    events = np.array([(7, 4, 20, 1, 1), (7, 0, 21, 1, 1), (7, 9, 22, 1, 1)], EVENT)
    rows, _, counts = built(events, line, Rules(8, 1, 9, False, 0))
    assert [row["candidates"] for row in rows] == [[0, 1, 2, 3, 5, 6, 7, 8], [1, 2, 3, 5, 6, 7, 8, 9]]
    assert counts["impressions shifted at the end of a timeline"] in (1, 2)  # one may have been drawn there
    assert [row["time"] for row in rows] == [21, 22]


def test_nobody_and_nothing(timelines: Timelines) -> None:
    rows, _, counts = built(np.empty(0, EVENT), timelines, RULES)
    assert rows == []
    assert not +counts
