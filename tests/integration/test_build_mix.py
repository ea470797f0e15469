"""`tastelab data build-mix` on Ray, from a generic feed and from a dump: the same tables as in one process."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tastelab.cli import main
from tastelab.data.mix import gather
from tastelab.data.mix.build import MixOptions, build_mix
from tastelab.data.mix.sanity import check
from tastelab.data.mix.tasks import here
from tastelab.data.tables import open_prepared

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OPTIONS = MixOptions(salt="pepper", progress=False, name="mix")


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    """3,000 signed events of 150 people on 200 items, with names and an address where they do not belong."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "feed"
    folder.mkdir()
    items = {
        "id": [f"n{i}" for i in range(200)],
        "title": [f"about {i} by jane.doe@example.org" for i in range(200)],
        "community": ["ab"[i % 2] for i in range(200)],
        "time": pa.array(1_500_000_000 + 3_600 * np.arange(200), pa.timestamp("s")),
    }
    events = {
        "user": [f"janedoe{u}" for u in rng.integers(0, 150, 3_000)],
        "item": [f"n{i}" for i in rng.integers(0, 200, 3_000)],
        "time": pa.array(1_500_000_000 + rng.integers(0, 10**6, 3_000), pa.timestamp("s")),
        "weight": pa.array(rng.choice([1.0, -1.0], 3_000, p=[0.8, 0.2]), pa.float32()),
    }
    pq.write_table(pa.table(items), folder / "items.parquet")
    pq.write_table(pa.table(events), folder / "events.parquet")
    return folder


@pytest.mark.usefixtures("local_ray")
def test_ray_gives_the_tables_of_one_process(feed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_ray = build_mix([f"generic:{feed}"], tmp_path / "ray", OPTIONS)
    monkeypatch.setattr(gather, "PART_ROWS", 500)
    alone = build_mix([f"generic:{feed}"], tmp_path / "alone", OPTIONS, here)
    assert on_ray.fingerprint == alone.fingerprint
    every = [open_prepared(tmp_path / name / "all") for name in ("ray", "alone")]
    assert every[0].fingerprint == every[1].fingerprint
    assert every[0].has_feedback
    assert check(every[0]).impressions > 1_000


@pytest.mark.usefixtures("local_ray")
def test_a_reader_s_mistake_reaches_the_user_as_a_sentence(feed: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"user": ["u"] * 50, "item": [None] * 50, "time": ["?"] * 50}), feed / "events-1.parquet")
    with pytest.raises(ValueError, match=r"events-1.parquet are malformed, more than the tolerated 1.00%"):
        build_mix([f"generic:{feed}"], tmp_path / "mix", OPTIONS)
    assert not (tmp_path / "mix").exists()


@pytest.mark.usefixtures("local_ray")
def test_the_command_prints_what_it_made_and_names_nobody(
    feed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tastelab.cluster.runtime.cluster", nullcontext)  # the Ray of these tests is up
    out = tmp_path / "mix"
    words = ["data", "build-mix", "--source", f"generic:{feed}", "--out", str(out), "--min-history", "3"]
    result = CliRunner().invoke(main, words, env={"TASTELAB_SALT": ""}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "No --salt" in result.output
    assert str(out / "card.md") in result.output
    for file in (file for file in out.rglob("*") if file.is_file()):
        content = file.read_bytes()
        if file.suffix == ".parquet":
            texts = [column for column in pq.read_table(file).columns if pa.types.is_string(column.type)]
            content = json.dumps([column.to_pylist() for column in texts]).encode()
        assert b"jane" not in content
        assert b"@" not in content


@pytest.mark.usefixtures("local_ray")
def test_three_real_sites_come_near_the_reference(test_data: Path, tmp_path: Path) -> None:
    """A reference by the same rule but at the ends of timelines: 4,470 impressions, 1,807 items, mean history 21."""
    build_mix([f"stackexchange:{test_data / 'stackexchange'}"], tmp_path / "mix", OPTIONS)
    every = open_prepared(tmp_path / "mix" / "all")
    num_train, num_dev = (every.num_impressions(split) for split in ("train", "dev"))
    assert every.num_items == 1_807
    assert num_train + num_dev == pytest.approx(4_470, rel=0.05)
    assert num_dev / (num_train + num_dev) == pytest.approx(0.2, abs=0.005)
    lengths = [len(row) for split in ("train", "dev") for row in every.impressions(split)["history"].to_pylist()]
    assert np.mean(lengths) == pytest.approx(21, abs=0.5)
    facts = json.loads((tmp_path / "mix" / "card.json").read_text())
    assert facts["people"] == pytest.approx(1_605, abs=2)
    assert {len(row) for row in every.impressions("dev")["candidates"].to_pylist()} == {16}
