"""Indexes on disk: each kind against exact search, and what is refused."""

from __future__ import annotations

import dataclasses
import doctest
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tastelab.retrieval import index as index_module
from tastelab.retrieval import kinds
from tastelab.retrieval.index import ItemIndex, Source, build, open_index
from tastelab.retrieval.merge import Excluded
from tastelab.retrieval.search import search

M, D, CLUSTERS = 3_000, 16, 30
SOURCE = Source("run-1", "abc123", "data-1")


def clustered(num: int, seed: int) -> np.ndarray:
    centres = np.random.default_rng(9).standard_normal((CLUSTERS, D))
    rng = np.random.default_rng(seed)
    vectors = centres[rng.integers(CLUSTERS, size=num)] + 0.5 * rng.standard_normal((num, D))
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


ITEMS = clustered(M, 0)
IDS = [f"item-{row}" for row in range(M)]
USERS = clustered(60, 1).reshape(20, 3, D)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("indexes")
    for kind in kinds.KINDS:
        build(ITEMS, IDS, home / kind, SOURCE, kind)
    return {kind: home / kind for kind in kinds.KINDS}


def exact(k: int, exclude: Excluded | None = None) -> tuple[np.ndarray, np.ndarray]:
    rows, scores = search(torch.from_numpy(USERS), torch.from_numpy(ITEMS), k, exclude)
    return rows.numpy(), scores.numpy()


def test_the_documented_example_holds() -> None:
    assert doctest.testmod(index_module) == (0, 1)


def test_an_exact_index_finds_what_exact_search_finds(folders: dict[str, Path]) -> None:
    rows, scores = open_index(folders["exact"], SOURCE).search(USERS, 10)
    expected, best = exact(10)
    assert rows.tolist() == expected.tolist()
    assert scores == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_every_kind_finds_nearly_all(folders: dict[str, Path], kind: str) -> None:
    opened = open_index(folders[kind])
    rows, scores = opened.search(USERS, 50)
    assert kinds_recall(rows, exact(50)[0]) > 0.97
    assert opened.about.recall >= index_module.RECALL
    assert all(len(set(row)) == 50 for row in rows.tolist())
    assert (scores[:, 1:] <= scores[:, :-1]).all()
    assert opened.ids[int(rows[0, 0])].as_py() == f"item-{rows[0, 0]}"


def kinds_recall(rows: np.ndarray, expected: np.ndarray) -> float:
    pairs = zip(rows.tolist(), expected.tolist(), strict=True)
    return float(np.mean([len(set(row) & set(best)) / len(best) for row, best in pairs]))


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_excluded_items_make_room(folders: dict[str, Path], kind: str) -> None:
    best = exact(30)[0]
    exclude = Excluded(best[:, ::2].ravel(), np.arange(0, 15 * len(best) + 1, 15))
    rows, _ = open_index(folders[kind]).search(USERS, 20, exclude)
    assert not any(set(row) & set(gone) for row, gone in zip(rows.tolist(), best[:, ::2].tolist(), strict=True))
    assert kinds_recall(rows, exact(20, exclude)[0]) > 0.97
    assert (rows >= 0).all()


@pytest.mark.parametrize("kind", ["exact", "ivf"])
def test_a_list_that_came_out_short_is_searched_for_everywhere(folders: dict[str, Path], kind: str) -> None:
    rows, scores = open_index(folders[kind]).search(USERS[:2], M, width=1)
    assert [sorted(row) for row in rows.tolist()] == [list(range(M))] * 2
    assert np.isfinite(scores).all()


def test_nothing_stands_where_nothing_is_left(folders: dict[str, Path]) -> None:
    exclude = Excluded(np.arange(M - 2), [0, M - 2])
    rows, scores = open_index(folders["ivf"]).search(USERS[:1], 4, exclude)
    assert sorted(rows[0].tolist()) == [-1, -1, M - 2, M - 1]
    assert np.isneginf(scores[0, 2:]).all()


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_an_open_index_is_mapped_from_its_file(folders: dict[str, Path], kind: str) -> None:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("this system does not list what a process maps")
    opened = open_index(folders[kind])
    assert str(folders[kind] / "index.faiss") in maps.read_text()
    assert opened.search(USERS[:1], 3)[0].shape == (1, 3)


def test_auto_chooses_by_size() -> None:
    assert kinds.choose_kind("auto", kinds.EXACT_BELOW - 1) == "exact"
    assert kinds.choose_kind("auto", kinds.EXACT_BELOW) == "ivf"
    with pytest.raises(ValueError, match="Unknown kind of index 'annoy': choose auto, exact, ivf, hnsw"):
        kinds.choose_kind("annoy", 5)


def test_the_search_is_widened_until_the_sample_is_found(tmp_path: Path) -> None:
    """Vectors without clusters lie in no few lists: the narrowest search misses many."""
    vectors = np.random.default_rng(0).standard_normal((4_000, 32), np.float32)
    ids = [str(row) for row in range(len(vectors))]
    chosen = build(vectors, ids, tmp_path / "chosen", SOURCE, "ivf")
    narrow = build(vectors, ids, tmp_path / "narrow", SOURCE, "ivf", search_width=2)
    assert narrow.search_width == 2
    assert narrow.recall < 0.8
    assert chosen.search_width > kinds.NARROWEST["ivf"]
    assert chosen.recall >= index_module.RECALL


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_one_item_is_enough(tmp_path: Path, kind: str) -> None:
    build(ITEMS[:1], ["only"], tmp_path / "one", SOURCE, kind)
    rows, _ = open_index(tmp_path / "one").search(USERS[:2], 1)
    assert rows.tolist() == [[0], [0]]


@pytest.mark.parametrize("change", [{"checkpoint": "other"}, {"data": "other"}, {"run_id": "other"}])
def test_vectors_of_another_checkpoint_are_refused(folders: dict[str, Path], change: dict[str, str]) -> None:
    expected = dataclasses.replace(SOURCE, **change)
    with pytest.raises(
        ValueError, match=r"holds the item vectors of .*run-1.*: build it again with `tastelab index`\."
    ):
        open_index(folders["ivf"], expected)


def test_what_is_no_index_is_named(tmp_path: Path, folders: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=r"is no index, it has no index\.json"):
        open_index(tmp_path)
    (tmp_path / "index.json").write_text("[1, 2")
    with pytest.raises(ValueError, match="does not describe an index"):
        open_index(tmp_path)
    about = json.loads((folders["exact"] / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps(about | {"format": 0}))
    with pytest.raises(ValueError, match="is of format 0, not 1"):
        open_index(tmp_path)
    (tmp_path / "index.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="is damaged or incomplete"):
        open_index(tmp_path)
    for name in ("index.faiss", "items.arrow"):
        (tmp_path / name).write_bytes((folders["exact"] / name).read_bytes())
    (tmp_path / "index.json").write_text(json.dumps(about | {"num_items": M + 1}))
    with pytest.raises(ValueError, match="do not belong together"):
        open_index(tmp_path)
    (tmp_path / "index.json").write_text(json.dumps(about))
    (tmp_path / "index.faiss").write_bytes(b"\x80\x04not an index")
    with pytest.raises(ValueError, match="is damaged or incomplete"):
        open_index(tmp_path)


def test_bad_vectors_are_refused(tmp_path: Path) -> None:
    broken = ITEMS[:9].copy()
    broken[[2, 5], 3] = np.nan
    with pytest.raises(ValueError, match="2 of 9 item vectors are NaN or infinite"):
        build(broken, IDS[:9], tmp_path / "i", SOURCE)
    with pytest.raises(ValueError, match="9 item vectors and 8 item ids"):
        build(ITEMS[:9], IDS[:8], tmp_path / "i", SOURCE)
    with pytest.raises(ValueError, match="needs item vectors"):
        build(ITEMS[:0], [], tmp_path / "i", SOURCE)
    assert not any(tmp_path.iterdir())


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="is there and is no index: choose another folder"):
        build(ITEMS[:9], IDS[:9], tmp_path, SOURCE)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_index_is_replaced_as_a_whole(tmp_path: Path) -> None:
    build(ITEMS, IDS, tmp_path / "i", SOURCE, "exact")
    build(ITEMS[:7], IDS[:7], tmp_path / "i", SOURCE, "ivf")
    assert open_index(tmp_path / "i").about.num_items == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["i"]


def test_bad_searches_are_refused(folders: dict[str, Path]) -> None:
    opened: ItemIndex = open_index(folders["ivf"])
    with pytest.raises(ValueError, match=f"k is {M + 1} and the index has 3,000 items: choose k from 1 to 3000."):
        opened.search(USERS, M + 1)
    with pytest.raises(ValueError, match="vectors of width 16"):
        opened.search(USERS[:, :, :8], 5)
    broken = USERS.copy()
    broken[3, 1, 0] = np.nan
    with pytest.raises(ValueError, match="1 user vectors are NaN"):
        opened.search(broken, 5)
