"""The loops that a user would write with transformers and peft, one per architecture.

Every text of every real slot is encoded, padded to the longest of its batch, in one pass under bf16 autocast; texts are
tokenised beforehand. LoRA, data, order of impressions, loss and optimiser are tastelab's.

Shape letters: C candidates of one impression, Q tokens of a history, N rows, T tokens, D width.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import chain

import torch
from sides import Setup, Side, build
from torch import Tensor, nn
from torch.nn.functional import normalize

from tastelab.config import RunConfig
from tastelab.schema import Batch

LIMIT = 512
Rows = list[list[int]]


class PlainEncoder(nn.Module):
    """An encoder with LoRA of rank 8 and its dropout off."""

    def __init__(self, path: str) -> None:
        """Load it and add the adapters."""
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModel, AutoTokenizer

        super().__init__()
        self.tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        self.special = torch.tensor(sorted({*self.tokenizer.all_special_ids} - {self.tokenizer.unk_token_id}))
        encoder = AutoModel.from_pretrained(path, local_files_only=True, add_pooling_layer=False)
        for module in encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        self.head: nn.Module | None = None
        targets = ["query", "key", "value", "dense"]
        self.model = get_peft_model(encoder, LoraConfig(r=8, lora_alpha=16, target_modules=targets))

    def forward(self, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """Return the hidden states of padded rows in float32, their mask and which tokens are text."""
        tokens = self.tokenizer.pad({"input_ids": rows}, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16):
            hidden_NTD = self.model(**tokens).last_hidden_state.float()
        mask_NT = tokens["attention_mask"].bool()
        return hidden_NTD, mask_NT, mask_NT & ~torch.isin(tokens["input_ids"], self.special)

    def pooled(self, rows: Rows) -> Tensor:
        """Return the unit vector of each row, the mean of its tokens."""
        hidden_NTD, mask_NT, _ = self(rows)
        mask_NT1 = mask_NT.unsqueeze(-1).float()
        return normalize((hidden_NTD * mask_NT1).sum(1) / mask_NT1.sum(1), dim=-1)


class Impressions:
    """Histories and candidates of a batch as rows of tokens, impression after impression."""

    def __init__(self, batch: Batch, tokens: Rows) -> None:
        """Look up the titles of all real slots."""
        ids_U = batch.item_ids_U
        histories, shown = ids_U[batch.history_index_BH], ids_U[batch.candidate_index_BC]
        self.histories = _rows(histories, batch.history_mask_BH, tokens)
        self.candidates = _rows(shown, batch.candidate_mask_BC, tokens)
        self.labels = [row[mask] for row, mask in zip(batch.labels_BC, batch.candidate_mask_BC, strict=True)]


def bi_encoder(encoder: PlainEncoder, batch: Impressions) -> list[Tensor]:
    """Score by the cosine of the mean of the history's vectors and each candidate's."""
    clicked, offered = _encoded_alone(batch, encoder.pooled)
    return [n_CD @ normalize(h_HD.mean(0), dim=0) for h_HD, n_CD in zip(clicked, offered, strict=True)]


def half_cross_encoder(encoder: PlainEncoder, batch: Impressions) -> list[Tensor]:
    """Score by the cosine of the history, read as one text, and each candidate."""
    users_BD = encoder.pooled([joined(rows) for rows in batch.histories])
    offered = encoder.pooled(flat(batch.candidates)).split([len(rows) for rows in batch.candidates])
    return [n_CD @ user_D for user_D, n_CD in zip(users_BD, offered, strict=True)]


def colbert(encoder: PlainEncoder, batch: Impressions) -> list[Tensor]:
    """Score by MaxSim of the tokens of a history's items and those of each candidate."""
    hidden_NTD, _, text_NT = encoder(flat(batch.histories + batch.candidates))
    sizes = [len(rows) for rows in (*batch.histories, *batch.candidates)]
    hidden, text = normalize(hidden_NTD, dim=-1).split(sizes), text_NT.split(sizes)
    half = len(batch.histories)
    queries = [h_HTD[t_HT] for h_HTD, t_HT in zip(hidden[:half], text[:half], strict=True)]
    return [max_sim(*of) for of in zip(queries, hidden[half:], text[half:], strict=True)]


def half_cross_encoder_colbert(encoder: PlainEncoder, batch: Impressions) -> list[Tensor]:
    """Score by MaxSim of the tokens of the history, read as one text, and those of each candidate."""
    hidden_BTD, _, text_BT = encoder([joined(rows) for rows in batch.histories])
    queries = [h_TD[t_T] for h_TD, t_T in zip(normalize(hidden_BTD, dim=-1), text_BT, strict=True)]
    hidden_NTD, _, text_NT = encoder(flat(batch.candidates))
    sizes = [len(rows) for rows in batch.candidates]
    hidden, text = normalize(hidden_NTD, dim=-1).split(sizes), text_NT.split(sizes)
    return [max_sim(*of) for of in zip(queries, hidden, text, strict=True)]


def cross_encoder(encoder: PlainEncoder, batch: Impressions) -> list[Tensor]:
    """Score by a perceptron on the pooled sequence of a whole history and one candidate."""
    sides = zip(batch.histories, batch.candidates, strict=True)
    pairs = [joined([*history, candidate]) for history, offered in sides for candidate in offered]
    assert encoder.head is not None
    scores: Tensor = encoder.head(encoder.pooled(pairs))
    return list(scores.split([len(rows) for rows in batch.candidates]))


def max_sim(query_QD: Tensor, hidden_CTD: Tensor, text_CT: Tensor) -> Tensor:
    """Return the mean over a history's tokens of the best similarity among each candidate's."""
    sims_QCT = torch.einsum("qd,ctd->qct", query_QD, hidden_CTD)
    return sims_QCT.masked_fill(~text_CT, -torch.inf).amax(dim=2).mean(dim=0)


def joined(rows: Rows) -> list[int]:
    """Join texts: the first as it is, the others without their first token, the oldest dropped where it is too long."""
    while len(rows) > 1 and 1 + sum(len(row) - 1 for row in rows) > LIMIT:
        rows = rows[1:]
    return rows[0] + [token for row in rows[1:] for token in row[1:]]


def flat(parts: list[Rows]) -> Rows:
    """Put the rows of all impressions after one another."""
    return list(chain.from_iterable(parts))


SCORES: dict[str, Callable[[PlainEncoder, Impressions], list[Tensor]]] = {
    "bi_encoder": bi_encoder,
    "colbert": colbert,
    "half_cross_encoder": half_cross_encoder,
    "half_cross_encoder_colbert": half_cross_encoder_colbert,
    "cross_encoder": cross_encoder,
}


def plain_side(setup: Setup, config: RunConfig) -> Side:
    """Build the plain loop of the architecture that `config` names."""
    head = getattr(build(setup, config), "head", None)
    torch.manual_seed(config.seed)
    encoder = PlainEncoder(setup.encoder_path)
    encoder.head = copy.deepcopy(head)
    trained = [p for p in encoder.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.optim.learning_rate, weight_decay=config.optim.weight_decay)
    score = SCORES[config.model.architecture.name]

    def step(batch: Batch) -> float:
        impressions = Impressions(batch, setup.tokens)
        scores = score(encoder, impressions)
        loss = torch.stack([mince(*of, config.objective.temperature) for of in _pairs(scores, impressions)]).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, config.optim.clip_norm)
        optimizer.step()
        return float(loss.detach())

    return Side("plain loop", step)


def mince(scores_C: Tensor, labels_C: Tensor, temperature: float) -> Tensor:
    """Return the mean over positives of `-log softmax`."""
    log_p = (scores_C / temperature).log_softmax(0)
    return -(log_p * labels_C).sum() / labels_C.sum()


def _pairs(scores: list[Tensor], impressions: Impressions) -> zip[tuple[Tensor, Tensor]]:
    return zip(scores, impressions.labels, strict=True)


def _encoded_alone(batch: Impressions, encode: Callable[[Rows], Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    sizes = [len(rows) for rows in (*batch.histories, *batch.candidates)]
    vectors = encode(flat(batch.histories + batch.candidates)).split(sizes)
    return list(vectors[: len(batch.histories)]), list(vectors[len(batch.histories) :])


def _rows(ids: Tensor, mask: Tensor, tokens: Rows) -> list[Rows]:
    return [[tokens[i] for i in row[real].tolist()] for row, real in zip(ids, mask, strict=True)]
