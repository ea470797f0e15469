"""A checkpoint of candidate generation and the data it was trained on → towers that serve, and an index of the items.

Shape letters: E items of any set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tastelab.config import Adaptation, RunConfig, replace_at
from tastelab.data.catalog import resolve
from tastelab.data.tables import PreparedData
from tastelab.modeling.candidates import CandidateModel
from tastelab.modeling.encoders import find_encoder, load_tokenizer
from tastelab.modeling.item_tower import ItemFacts, ItemVectors
from tastelab.modeling.ranker import Resources, build_ranker
from tastelab.retrieval.evaluate import all_items
from tastelab.retrieval.index import About, Source, build, check_place
from tastelab.training import candidate_checkpoint


@dataclass(frozen=True)
class Candidates:
    """The towers of a checkpoint over the items of its data."""

    model: CandidateModel
    config: RunConfig
    data: PreparedData
    source: Source
    """Whose vectors an index of these items holds."""
    encoder: str
    """Name of the encoder, where text is read."""
    device: torch.device

    @cached_property
    def items(self) -> ItemVectors:
        """Vectors of the whole catalogue, computed when they are first asked for."""
        return all_items(self.model, self.data.num_items, self.device)

    @property
    def reads_text(self) -> bool:
        """Whether an item from outside the data has a vector, by its text."""
        return self.config.retrieval is not None and self.config.retrieval.items.text != "none"

    @torch.no_grad()
    def outside(self, texts: Sequence[str]) -> ItemVectors:
        """Return the vectors of items from outside the data, of which the title alone is known."""
        tokenizer = load_tokenizer(find_encoder(self.encoder).path)
        encoded = tokenizer(
            list(texts), truncation=True, max_length=self.config.data.max_tokens, padding=True, return_tensors="pt"
        )
        tokens_ET, mask_ET = encoded["input_ids"], encoded["attention_mask"].bool()
        found: ItemVectors = self.model.item_tower(self._facts(tokens_ET, mask_ET))
        return found

    def _facts(self, tokens_ET: Tensor, mask_ET: Tensor) -> ItemFacts:
        assert self.config.retrieval is not None
        if self.config.retrieval.items.text == "trained":
            return self.model.item_tower.outside(len(tokens_ET), tokens_ET=tokens_ET, mask_ET=mask_ET)
        frozen = replace_at(self.config.model, {"adaptation": Adaptation.named("frozen")})
        ranker = build_ranker(frozen, Resources(find_encoder(self.encoder).path, reuse_mb=0)).eval()
        outside_E = torch.full((len(tokens_ET),), -1)
        text_EF = ranker.represent(outside_E, tokens_ET, mask_ET, None).vectors_UD
        return self.model.item_tower.outside(len(tokens_ET), text_EF=text_EF)


def open_candidates(
    checkpoint: Path, data: str, home: Path, encoder: str | None = None, device: torch.device | None = None
) -> Candidates:
    """Open a checkpoint with the data it was trained on.

    Args:
        checkpoint: its folder.
        data: name, prepared folder or raw folder.
        home: where prepared data sets are kept.
        encoder: the encoder it was trained on, where its name in the checkpoint is not enough.
        device: where to compute; None takes a GPU where there is one.

    Raises:
        ValueError: the folder is no checkpoint of candidate generation, or data or encoder are not its own.
    """
    weights = checkpoint / "model.safetensors"
    if not weights.is_file():
        raise ValueError(
            f"{checkpoint} is no checkpoint, it has no {weights.name}: pass the folder of a finished run's checkpoint."
        )
    prepared = resolve(data, home)
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, config, about = candidate_checkpoint.load_candidates(checkpoint, prepared, encoder, device)
    source = Source(str(about["run_id"]), fingerprint(weights), prepared.fingerprint)
    name = encoder or str(about.get("encoder", {}).get("name", ""))
    return Candidates(model.eval(), config, prepared, source, name, device)


def index_items(candidates: Candidates, out: Path, kind: str = "auto") -> About:
    """Index the vectors of all items; see `retrieval.index.build`."""
    check_place(out)
    vectors = candidates.items.vectors_ED.float().cpu().numpy()
    ids = candidates.data.items(["item_id"])["item_id"].combine_chunks()
    return build(vectors, ids, out, candidates.source, kind)


def about_lines(about: About, out: Path) -> str:
    """Say what an index holds and how well it is searched."""
    searched: dict[str, Any] = {"ivf": "lists are probed", "hnsw": "nodes are kept"}
    wide = f"; {about.search_width} {searched[about.kind]}" if about.kind in searched else ""
    return (
        f"{out}: {about.num_items:,} items of width {about.dim}, {about.kind}{wide}; of the 50 best for a sample "
        f"{about.recall:.1%} are found; built in {about.build_s:.1f} s"
    )


def fingerprint(file: Path) -> str:
    """Return 12 hex digits of the SHA-256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:12]
