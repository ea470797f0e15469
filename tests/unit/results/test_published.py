"""Every published cell against a second transcription of the tables of [A], made by a script from the source."""

from __future__ import annotations

import pytest

from tastelab.results.measures import measure
from tastelab.results.published import ANYWHERE, DATASETS, KIN, PUBLISHED, SOURCES, published

SOURCE = """
1 | MIND Base (NRMS) | 0.6622 0.3192 0.3453 | NA NA NA
1 | Bi-Encoder BCE | 0.6801 0.3250 0.3561 | 0.7186 0.4179 0.4404
1 | Bi-Encoder INCE | 0.6758 0.3309 0.3634 | 0.7550 0.4674 0.4951
1 | Bi-Encoder MINCE | 0.6818 0.3334 0.3671 | 0.7551 0.4679 0.4955
1 | Bi-Encoder ID-SAS BCE | 0.6646 0.3163 0.3462 | - - -
1 | Cross-Encoder BCE | - - - | - - -
1 | Bi-Encoder all components | 0.7018 0.3467 0.3845 | 0.8367 0.6217 0.6510
2 | Half Cross-Encoder | - - - |
2 | Bi-Encoder - ColBERT | - - - |
2 | Half Cross-Encoder - ColBERT | - - - |
3 | Bi-encoder MINCE Loss | 0.6786 0.3309 0.3646 | 0.7933 0.5356 0.5645
3 | + LoRA only | 0.6891 0.3372 0.3728 | - - -
3 | + SASRec Pool | 0.6526 0.3041 0.3366 | - - -
3 | + Mix pool (TopK + Mean) | 0.6836 0.3373 0.3721 | - - -
3 | + Redundancy Penalty | 0.6855 0.3396 0.3740 | - - -
3 | + All components | 0.6931 0.3462 0.3826 | 0.8287 0.6069 0.6363
4 | Bi-encoder MINCE Loss | 0.6786 0.3309 0.3646 |
4 | <> Margin Ranking Loss | 0.6779 0.3272 0.3621 |
4 | <> RankNet Loss | 0.6774 0.3317 0.3649 |
4 | + Uniformity Auxiliary Loss (BS 8x6) | 0.6790 0.3331 0.3671 |
5 | gte-small 30M | 0.6639 0.3213 0.3523 |
5 | gte-base 110M | 0.6687 0.3266 0.3582 |
5 | gte-large 330M | 0.6813 0.3313 0.3639 |
"""
HOME = {"1": "mind", "2": "mind", "3": "mind-small", "4": "mind-small", "5": "mind-small"}


def parts(line: str) -> list[str]:
    return [part.strip() for part in line.split("|")]


@pytest.mark.parametrize("line", SOURCE.strip().splitlines())
def test_every_cell_is_the_source_s(line: str) -> None:
    table, label, *columns = parts(line)
    (row,) = [r for key, r in PUBLISHED.items() if key.startswith(f"A{table}.") and r.label == label]
    home = "mind-test" if "NRMS" in label else HOME[table]
    for dataset, cells in zip((home, "mix"), columns, strict=True):
        numbers = [float(cell) for cell in cells.split() if cell not in ("-", "NA")]
        assert row.values.get(dataset, {}) == dict(zip(("auc", "mrr", "ndcg@5"), numbers, strict=False))
        assert (dataset in row.pending) == ("-" in cells)
    assert row.source == f"[A] Table {table}"


def test_nothing_else_is_published_but_the_two_figures_of_the_text() -> None:
    in_tables = [key for key in PUBLISHED if PUBLISHED[key].source.startswith("[A] Table") and "features" not in key]
    assert len(in_tables) == len(SOURCE.strip().splitlines())
    of_a = {key for key, row in PUBLISHED.items() if row.work == "[A]"}
    assert of_a - set(in_tables) == {"A.leaderboard", "A1.id_sas_all_features"}
    assert published("A.leaderboard").values == {"mind-test": {"auc": 0.7304}}
    assert published("A1.id_sas_all_features").values == {"mind": {"auc": 0.66349}}


def test_the_figures_of_b_are_printed_as_b_prints_them_beside_any_data() -> None:
    """A second transcription, cell by cell as the source prints it."""
    source = {
        "B.negative_sampling": {"hr@50": "7.1 %"},
        "B.shared_negative_sampling": {"hr@50": "6.4 %"},
        "B.sampled_softmax": {"hr@50": "17.6 %", "diversity": "10,780,111", "ctr": "3.32 %"},
        "B.clrec": {"hr@50": "17.8 %", "diversity": "21,905,318", "popularity_index": "0.224", "ctr": "3.85 %"},
        "B.mind": {"ctr": "5.87 %", "popularity_index": "0.658"},
        "B.clrec_online": {"ctr": "6.3 %", "dwell_gain": "11.9 %", "popularity_index": "0.224"},
        "B.clrec_shift": {"hr@50_weekday": "17.18 %", "hr@50_weekend": "17.16 %"},
        "B.multi_clrec_shift": {"hr@50_weekday": "17.25 %", "hr@50_weekend": "17.68 %"},
    }
    rows = {key: row for key, row in PUBLISHED.items() if row.work == "[B]"}
    printed = {
        key: {
            metric: measure(metric).printed(value).replace("\u00a0", " ") for metric, value in row.values["B"].items()
        }
        for key, row in rows.items()
    }
    assert printed == source
    assert {row.nearest(data) for row in rows.values() for data in ("synthetic", "mix_sample", "ml-100k")} == {"B"}


def test_every_data_set_that_is_used_has_a_name() -> None:
    used = {name for row in PUBLISHED.values() for name in (*row.values, *row.pending)}
    assert used == set(DATASETS) == {name for kin in KIN.values() for name in kin} | set(ANYWHERE)
    assert {row.work for row in PUBLISHED.values()} == set(SOURCES)


def test_the_nearest_data_set_counts_and_a_strange_one_has_none() -> None:
    assert published("A3.lora").nearest("mind-small") == "mind-small"
    assert published("A3.lora").nearest("mind") == "mind-small"
    assert published("A1.bi_encoder_bce").nearest("mind-small") == "mind"
    assert published("A1.nrms").nearest("mind-small") == "mind-test"
    assert published("A3.lora").nearest("mix_sample") == "mix"  # announced there, without a figure
    assert published("A1.nrms").nearest("mix_sample") is None
    assert published("A1.bi_encoder_bce").nearest("synthetic") is None


def test_an_unknown_key_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'A9.best' is no published figure: use one of A1.nrms, "):
        published("A9.best")
