"""NRMS: words attend to each other and make a title, clicked titles attend to each other and make a user.

Wu et al., Neural News Recommendation with Multi-Head Self-Attention, EMNLP 2019 ([7] in [A]; methods.md §3).

Shape letters: B impressions, H history slots, C candidate slots, U distinct items, T tokens, W distinct words, S sets,
N members of a set, K heads, E width of a head, D = K·E width of an item, V words of the vocabulary, G width of a word;
n sets of one slice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, normalize, scaled_dot_product_attention

from tastelab.config import Architecture, ModelConfig
from tastelab.modeling.attention import AdditiveAttention
from tastelab.modeling.item_table import Table
from tastelab.modeling.items import Items, Slots
from tastelab.modeling.ranker import Ranker, RankerArchitecture, Resources
from tastelab.modeling.slices import longest_first, token_slices

WORD_WIDTH = 300
WORD_SIZE = 0.1
"""Standard deviation of a random word's numbers: so small that training starts at the loss of a tie, not above it."""
TOKENS_PER_SLICE = 4_096
"""Padded tokens that attend at once."""


@Architecture.register("nrms")
@dataclass(frozen=True)
class NRMS(RankerArchitecture):
    """Word embeddings of its own, multi-head self-attention for titles and for users, dot product.

    The defaults are the paper's: 16 heads of width 16, attention queries of width 200, words of width 300. Its dropout
    of .2 is an option here, off by default, because it draws anew on every worker: with it, one worker and two do not
    follow the same trajectory. Scores are dot products without bound; temperature 1 makes InfoNCE the paper's loss.
    """

    tokens: ClassVar[Literal["encoder", "words"]] = "words"
    pools_items: ClassVar[bool] = False

    num_heads: int = 16
    head_width: int = 16
    query_width: int = 200
    word_width: int | None = None
    """None is the width of the given word vectors, 300 where none are given."""
    dropout: float = 0.0
    """Share of the numbers of words and of attended words and clicks that a training step drops."""

    def __post_init__(self) -> None:
        """Refuse sizes below 1 and a dropout that is no probability."""
        for what in ("num_heads", "head_width", "query_width", "word_width"):
            if (size := getattr(self, what)) is not None and size < 1:
                raise ValueError(f"NRMS's {what} is {size}: choose 1 or more.")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"NRMS's dropout is {self.dropout}: choose a number from 0 to below 1.")

    def build(self, config: ModelConfig, resources: Resources) -> Ranker:
        """Lay out the words of a vocabulary's folder, from its vectors where it has some, and add both encoders."""
        words = Table(read_words(Path(resources.encoder_path), self.word_width))
        width = self.num_heads * self.head_width
        title = SetEncoder(words.rows_ND.shape[1], self.num_heads, self.head_width, self.query_width, self.dropout)
        user = SetEncoder(width, self.num_heads, self.head_width, self.query_width, self.dropout)
        return NRMSRanker(words, title, user, self.dropout)


class NRMSRanker(Ranker):
    """Words to titles, titles to users; an item without a word is the zero vector, a user without a click learned."""

    def __init__(self, words: Table, title: SetEncoder, user: SetEncoder, dropout: float) -> None:
        """Put the parts together; the empty history's vector starts at zero, so that its candidates tie."""
        super().__init__()
        self.words = words
        self.title = title
        self.user = user
        self.dropout = nn.Dropout(dropout)
        self.empty_D = nn.Parameter(torch.zeros(user.width))

    @property
    def width(self) -> int:
        """Length of an item vector."""
        return self.title.width

    def represent(self, ids_U: Tensor, tokens_UT: Tensor, mask_UT: Tensor, wanted_U: Tensor | None = None) -> Items:
        """Encode titles, not normalised; see `Ranker.represent`."""
        if not mask_UT.shape[1]:
            tokens_UT, mask_UT = tokens_UT.new_zeros((len(ids_U), 1)), mask_UT.new_zeros((len(ids_U), 1))
        projected_WF, place_UT = self._projected(tokens_UT.masked_fill(~mask_UT, 0))
        order_U = longest_first(mask_UT)
        lengths = mask_UT[order_U].sum(dim=1).tolist()
        titles = []
        for part, width in token_slices(lengths, TOKENS_PER_SLICE):
            rows = order_U[part]
            titles.append(self.title(embedding(place_UT[rows, :width], projected_WF), mask_UT[rows, :width]))
        vectors_UD = torch.cat(titles)[order_U.argsort()] if titles else projected_WF.new_zeros((0, self.width))
        return Items(ids_U, tokens_UT, mask_UT, vectors_UD.to(self.words.rows_ND.dtype))

    def score(self, items: Items, slots: Slots) -> Tensor:
        """Score candidates by their dot product with the user: scores_BC."""
        assert items.vectors_UD is not None
        history_BHD = embedding(slots.history_index_BH, items.vectors_UD)
        candidates_BCD = embedding(slots.candidate_index_BC, items.vectors_UD)
        with torch.autocast(history_BHD.device.type, enabled=False):
            users_BD = self.user(self.user.project(self.dropout(history_BHD)), slots.history_mask_BH)
            users_BD = torch.where(slots.history_mask_BH.any(dim=1, keepdim=True), users_BD, self.empty_D)
            return torch.einsum("bd,bcd->bc", users_BD, candidates_BCD)

    def unit_vectors(self, items: Items) -> Tensor | None:
        """Normalise the items' vectors; zero stays zero."""
        assert items.vectors_UD is not None
        return normalize(items.vectors_UD, dim=-1)

    def _projected(self, tokens_UT: Tensor) -> tuple[Tensor, Tensor]:
        """Return what attention needs of each distinct word, and where each token finds it.

        A word has no position, so its projections are the same wherever it stands; with dropout they are not.
        """
        words_W, place_UT = torch.unique(tokens_UT, return_inverse=True)
        vectors_WG = self.words(words_W)
        if self.training and self.dropout.p:
            vectors_WG = self.dropout(embedding(place_UT.flatten(), vectors_WG))
            place_UT = torch.arange(place_UT.numel(), device=place_UT.device).view_as(place_UT)
        return self.title.project(vectors_WG), place_UT


class SetEncoder(nn.Module):
    """Multi-head self-attention over the members of a set, then additive attention: order does not matter.

    Head k maps member i to `Σ_j a_ij V_k e_j`, a the softmax over j of `⟨Q_k e_i, K_k e_j⟩ / √E`, where the paper has
    `e_iᵀ Q_k e_j`: the form of its authors' code, of lower rank and cheaper.
    """

    def __init__(self, in_width: int, num_heads: int, head_width: int, query_width: int, dropout: float) -> None:
        """Draw queries, keys and values as Glorot and Bengio do, each as a matrix of its own."""
        super().__init__()
        self.num_heads = num_heads
        self.width = num_heads * head_width
        self.project = nn.Linear(in_width, 3 * self.width, bias=False)
        for matrix in self.project.weight.chunk(3):
            nn.init.xavier_uniform_(matrix)
        self.dropout = nn.Dropout(dropout)
        self.pool = AdditiveAttention(self.width, query_width)

    def forward(self, projected_SNF: Tensor, mask_SN: Tensor) -> Tensor:
        """Return pooled_SD, zero where a set has no real member.

        Args:
            projected_SNF: what `project` made of the members, F = 3·D; what masked ones hold never matters.
            mask_SN: True for a real member.
        """
        num_sets, num_members, _ = projected_SNF.shape
        parts = projected_SNF.view(num_sets, num_members, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        query_SKNE, key_SKNE, value_SKNE = parts.unbind()
        # Softmax over nothing is NaN, and its gradient too: a set without members attends to its padding.
        visible_SN = mask_SN | ~mask_SN.any(dim=1, keepdim=True)
        attended_SKNE = scaled_dot_product_attention(
            query_SKNE, key_SKNE, value_SKNE, attn_mask=visible_SN[:, None, None, :]
        )
        pooled_SD: Tensor = self.pool(self.dropout(attended_SKNE.transpose(1, 2).flatten(2)), mask_SN)
        return pooled_SD


def read_words(folder: Path, width: int | None) -> Tensor:
    """Return the vectors (V, G) of a vocabulary: given ones, and random ones of their size where none is given.

    Args:
        folder: holds `tokenizer.json`, and `vectors.npy` where vectors are given (`data.words`).
        width: of a word; None takes that of the given vectors.

    Raises:
        ValueError: there is no vocabulary, or the given vectors have another width.
    """
    if not (folder / "tokenizer.json").is_file():
        raise ValueError(f"{folder} has no vocabulary of words (tokenizer.json): NRMS needs the one of its data set.")
    num_words = len(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"])
    known = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("word_width")
    if width is not None and known not in (None, width):
        raise ValueError(
            f"The given word vectors have {known} numbers, NRMS has word_width {width}: set it to {known}, or to none."
        )
    random_VG = torch.randn(num_words, known or width or WORD_WIDTH)
    random_VG[0] = 0.0
    if not (folder / "vectors.npy").is_file():
        return WORD_SIZE * random_VG
    given_VG = torch.from_numpy(np.load(folder / "vectors.npy", allow_pickle=False))
    has_V1 = given_VG.isfinite().all(dim=1, keepdim=True)
    size = given_VG[has_V1.squeeze(1)].square().mean().sqrt()
    return torch.where(has_V1, given_VG, random_VG * size)
