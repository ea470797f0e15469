"""The published figures that tables show beside our own: copied from [A] and [B], nothing here was measured by us.

[A] is the writeup on fine-tuned text encoders for MIND and for its Mix data set (its Tables 1–5 and the text around
them). Its figures are on its data, encoder (gte-modernbert-base unless a row names another) and hardware. Three data
sets must not be confused: Table 1 is on the dev set of the full MIND (376 thousand impressions), Tables 3 to 5 are on
that of MIND-small (73 thousand), and NRMS and the leaderboard are on MIND's test set. Table 2 states no data set and
has no figure yet; it is listed with Table 1's.

[B] is the article on contrastive learning for candidate generation (CLRec, Multi-CLRec). All of its figures are on the
logs and the live traffic of its own service, so no data set of ours is near to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

DATASETS = {
    "mind": "MIND dev",
    "mind-small": "MIND-small dev",
    "mind-test": "MIND test",
    "mix": "Mix",
    "B": "its own logs",
}
"""Published data set → how a table names it."""

KIN = {
    "mind-small": ("mind-small", "mind", "mind-test"),
    "mind": ("mind", "mind-small", "mind-test"),
    "mind-large": ("mind", "mind-small", "mind-test"),
    "mix_sample": ("mix",),
    "mix": ("mix",),
}
"""Our data set → the published ones that a reader may want beside it, the nearest first. Kin is not the same data."""

ANYWHERE = ("B",)
"""Published data sets that are as far from any of ours, and are shown beside all."""

SOURCES = {
    "[A]": "with its own encoder (gte-modernbert-base unless the row names one), hardware and data. Where these differ "
    "from ours, compare the order of rows, not their values. [A]: Writeup on universal recommenders involving "
    "Microsoft News Dataset and others.",
    "[B]": "on the logs of its own service, of some 100 million items, CTR and dwell time on its live traffic. Compare "
    "the order of rows, not their values. [B]: Contrastive Learning for Debiased Candidate Generation in Large-Scale "
    "Recommender Systems.",
}
"""Source → what a reader must know of its figures, and its title."""


@dataclass(frozen=True)
class Published:
    """One published row: `values[data set][metric]`; a cell that was not published is absent."""

    label: str
    values: Mapping[str, Mapping[str, float]]
    note: str = ""
    source: str = ""
    """Where it stands, such as `[A] Table 1`."""
    pending: tuple[str, ...] = ()
    """Data sets for which the source announces the row and prints `-`."""

    def nearest(self, dataset: str) -> str | None:
        """Return the published data set nearest to one of ours for which the source has the row, pending or not."""
        near = (*KIN.get(dataset, ()), *ANYWHERE)
        return next((name for name in near if name in self.values or name in self.pending), None)

    @property
    def work(self) -> str:
        """Which work published it: `[A]` or `[B]`."""
        return self.source.partition(" ")[0]


def _cells(auc: float, mrr: float, ndcg_5: float) -> dict[str, float]:
    return {"auc": auc, "mrr": mrr, "ndcg@5": ndcg_5}


TABLE_1 = {
    "A1.nrms": Published(
        "MIND Base (NRMS)",
        {"mind-test": _cells(0.6622, 0.3192, 0.3453)},
        note="reported by the paper of MIND",
    ),
    "A1.bi_encoder_bce": Published(
        "Bi-Encoder BCE",
        {"mind": _cells(0.6801, 0.3250, 0.3561), "mix": _cells(0.7186, 0.4179, 0.4404)},
    ),
    "A1.bi_encoder_ince": Published(
        "Bi-Encoder INCE",
        {"mind": _cells(0.6758, 0.3309, 0.3634), "mix": _cells(0.7550, 0.4674, 0.4951)},
    ),
    "A1.bi_encoder_mince": Published(
        "Bi-Encoder MINCE",
        {"mind": _cells(0.6818, 0.3334, 0.3671), "mix": _cells(0.7551, 0.4679, 0.4955)},
    ),
    "A1.id_sas": Published("Bi-Encoder ID-SAS BCE", {"mind": _cells(0.6646, 0.3163, 0.3462)}, pending=("mix",)),
    "A1.cross_encoder": Published("Cross-Encoder BCE", {}, pending=("mind", "mix")),
    "A1.all_components": Published(
        "Bi-Encoder all components",
        {"mind": _cells(0.7018, 0.3467, 0.3845), "mix": _cells(0.8367, 0.6217, 0.6510)},
    ),
}

TABLE_2 = {
    "A2.half_cross_encoder": Published("Half Cross-Encoder", {}, pending=("mind",)),
    "A2.bi_encoder_colbert": Published("Bi-Encoder - ColBERT", {}, pending=("mind",)),
    "A2.half_cross_encoder_colbert": Published("Half Cross-Encoder - ColBERT", {}, pending=("mind",)),
}

TABLE_3 = {
    "A3.bi_encoder_mince": Published(
        "Bi-encoder MINCE Loss",
        {"mind-small": _cells(0.6786, 0.3309, 0.3646), "mix": _cells(0.7933, 0.5356, 0.5645)},
    ),
    "A3.lora": Published("+ LoRA only", {"mind-small": _cells(0.6891, 0.3372, 0.3728)}, pending=("mix",)),
    "A3.sasrec": Published("+ SASRec Pool", {"mind-small": _cells(0.6526, 0.3041, 0.3366)}, pending=("mix",)),
    "A3.mix_pool": Published(
        "+ Mix pool (TopK + Mean)", {"mind-small": _cells(0.6836, 0.3373, 0.3721)}, pending=("mix",)
    ),
    "A3.redundancy": Published(
        "+ Redundancy Penalty", {"mind-small": _cells(0.6855, 0.3396, 0.3740)}, pending=("mix",)
    ),
    "A3.all_components": Published(
        "+ All components",
        {"mind-small": _cells(0.6931, 0.3462, 0.3826), "mix": _cells(0.8287, 0.6069, 0.6363)},
    ),
}

TABLE_4 = {
    "A4.bi_encoder_mince": Published("Bi-encoder MINCE Loss", {"mind-small": _cells(0.6786, 0.3309, 0.3646)}),
    "A4.margin": Published("<> Margin Ranking Loss", {"mind-small": _cells(0.6779, 0.3272, 0.3621)}),
    "A4.ranknet": Published("<> RankNet Loss", {"mind-small": _cells(0.6774, 0.3317, 0.3649)}),
    "A4.uniformity": Published("+ Uniformity Auxiliary Loss (BS 8x6)", {"mind-small": _cells(0.6790, 0.3331, 0.3671)}),
}

TABLE_5 = {
    "A5.gte_small": Published("gte-small 30M", {"mind-small": _cells(0.6639, 0.3213, 0.3523)}),
    "A5.gte_base": Published("gte-base 110M", {"mind-small": _cells(0.6687, 0.3266, 0.3582)}),
    "A5.gte_large": Published("gte-large 330M", {"mind-small": _cells(0.6813, 0.3313, 0.3639)}),
}

TEXT = {
    "A1.id_sas_all_features": Published(
        "ID-SAS, full fine-tuning, all 6 text features", {"mind": {"auc": 0.66349}}, source="[A] Table 1, caption"
    ),
    "A.leaderboard": Published(
        "Top of MIND's leaderboard, all features",
        {"mind-test": {"auc": 0.7304}},
        note="with the body of articles and other features",
        source="[A] §4",
    ),
}


OF_B = {
    "B.negative_sampling": Published("negative sampling", {"B": {"hr@50": 0.071}}),
    "B.shared_negative_sampling": Published("shared negative sampling", {"B": {"hr@50": 0.064}}),
    "B.sampled_softmax": Published("sampled-softmax", {"B": {"hr@50": 0.176, "diversity": 10_780_111, "ctr": 0.0332}}),
    "B.clrec": Published(
        "CLRec",
        {"B": {"hr@50": 0.178, "diversity": 21_905_318, "popularity_index": 0.224, "ctr": 0.0385}},
        note="popularity index beside MIND, the capsule network, in an online test of its own",
    ),
    "B.mind": Published("MIND (the capsule network)", {"B": {"ctr": 0.0587, "popularity_index": 0.658}}),
    "B.clrec_online": Published(
        "CLRec, beside MIND", {"B": {"ctr": 0.0630, "dwell_gain": 0.119, "popularity_index": 0.224}}
    ),
    "B.clrec_shift": Published("CLRec, trained on weekdays", {"B": {"hr@50_weekday": 0.1718, "hr@50_weekend": 0.1716}}),
    "B.multi_clrec_shift": Published(
        "Multi-CLRec, trained on weekdays", {"B": {"hr@50_weekday": 0.1725, "hr@50_weekend": 0.1768}}
    ),
}


def _registry() -> dict[str, Published]:
    tables = enumerate((TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5), start=1)
    named = {key: replace(row, source=f"[A] Table {number}") for number, rows in tables for key, row in rows.items()}
    return named | TEXT | {key: replace(row, source="[B] §Experiments") for key, row in OF_B.items()}


PUBLISHED: Mapping[str, Published] = _registry()
"""Every published row by key: `A1.nrms` is the row NRMS of [A] Table 1, `B.clrec` that of [B]."""


def published(key: str) -> Published:
    """Return a published row by key; `ValueError` names the keys there are."""
    if key not in PUBLISHED:
        raise ValueError(f"'{key}' is no published figure: use one of {', '.join(PUBLISHED)}.")
    return PUBLISHED[key]
