"""What a user clicked → what is retrieved for them, by item: together and by each vector of the user.

Shape letters: N queries (1 here), S clicks, K vectors of the user, D width, E items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from tastelab.metrics.retrieval import NOTHING
from tastelab.modeling.histories import Histories
from tastelab.retrieval.index import ItemIndex
from tastelab.retrieval.merge import Excluded
from tastelab.retrieval.search import search
from tastelab.schema import UNKNOWN_TIME
from tastelab.serving.candidates import Candidates

OUTSIDE = -1
"""Row of a click on an item that the data do not have."""
EMPTY = "The history is empty: these are the items for a user of whom nothing is known."


@dataclass(frozen=True)
class Click:
    """A click as it was understood."""

    line: str
    row: int
    """Row of the item, or `OUTSIDE`."""
    title: str


@dataclass(frozen=True)
class Found:
    """A retrieved item in its place."""

    position: int
    score: float
    """Largest cosine with a vector of the user."""
    item_id: str
    title: str


@dataclass(frozen=True)
class Answer:
    """What is retrieved for a user."""

    clicks: list[Click]
    """The clicks that count, the oldest first."""
    items: list[Found]
    vectors: list[list[Found]] = field(default_factory=list)
    """What each vector of the user retrieves alone, the most important one first; empty unless asked for."""
    notes: list[str] = field(default_factory=list)


class Retriever:
    """Retrieves for one user at a time, by an index or by comparing all items."""

    def __init__(self, candidates: Candidates, index: ItemIndex | None = None) -> None:
        """Serve the towers of a checkpoint; the index must hold its items' vectors."""
        table = candidates.data.items(["item_id", "title"])
        self.candidates = candidates
        self.index = index
        self.ids: list[str] = table["item_id"].to_pylist()
        self.titles: list[str] = table["title"].to_pylist()
        rows = range(len(self.ids) - 1, -1, -1)  # of equal titles the first wins
        self._row_of = {self.titles[row].strip(): row for row in rows if self.titles[row].strip()} | {
            self.ids[row]: row for row in rows
        }

    def retrieve(
        self, history: Sequence[str], k: int = 10, per_vector: bool = False, exclude_seen: bool = False
    ) -> Answer:
        """Retrieve the k best items of the whole catalogue for a user.

        Args:
            history: ids or titles of clicked items, the oldest first; another line is the text of an item from outside,
                where the item tower reads text.
            k: how many.
            per_vector: also what each vector of the user retrieves alone.
            exclude_seen: leave out what is in the history.

        Raises:
            ValueError: a line is no item and no text that can be read, or k is larger than the catalogue.
        """
        clicks = self.read(history)
        latest = clicks[-self.candidates.config.data.max_history :]
        vectors_KD = self._vectors(latest)
        seen = sorted({click.row for click in clicks if click.row != OUTSIDE}) if exclude_seen else []
        apart = [self._search(vectors_KD[v : v + 1], k, seen) for v in range(len(vectors_KD))] if per_vector else []
        return Answer(latest, self._search(vectors_KD, k, seen), apart, self._notes(clicks, latest))

    def read(self, history: Sequence[str]) -> list[Click]:
        """Find the item of each line; raise `ValueError` for one that is no item where no text is read."""
        clicks = []
        for line in (line.strip() for line in history):
            if not line:
                continue
            row = self._row_of.get(line, OUTSIDE)
            if row == OUTSIDE and not self.candidates.reads_text:
                raise ValueError(
                    f"'{line}' is no item id and no title of '{self.candidates.data.name}', and the checkpoint's item "
                    "tower reads no text: pass ids or titles of the data."
                )
            clicks.append(Click(line, row, line if row == OUTSIDE else self._title(row)))
        return clicks

    @torch.no_grad()
    def _vectors(self, clicks: list[Click]) -> Tensor:
        """Return the vectors that retrieve, (K, D)."""
        candidates = self.candidates
        assert candidates.config.retrieval is not None
        users = candidates.model.users(self._histories(clicks))
        served: Tensor = candidates.model.user_tower.serving(users, candidates.config.retrieval.num_vectors)[0]
        return served

    def _histories(self, clicks: list[Click]) -> Histories:
        """Build one history without times; one masked slot stands for no click."""
        model, device = self.candidates.model, self.candidates.device
        rows = torch.tensor([click.row for click in clicks] or [0])
        found = model.items(rows.clamp(min=0).to(device))
        vectors_SD, categories_SC = found.vectors_ED, found.categories_EC
        if texts := [click.line for click in clicks if click.row == OUTSIDE]:
            outside = self.candidates.outside(texts)
            here_S = (rows == OUTSIDE).to(device)
            vectors_SD, categories_SC = vectors_SD.clone(), categories_SC.clone()
            vectors_SD[here_S], categories_SC[here_S] = outside.vectors_ED, outside.categories_EC
        mask_BS = torch.full((1, len(rows)), bool(clicks), device=device)
        unknown_BS = torch.full((1, len(rows)), UNKNOWN_TIME, device=device)
        return Histories(
            vectors_SD.unsqueeze(0),
            mask_BS,
            torch.zeros(1, dtype=torch.int64, device=device),
            mask_BS.sum(dim=1),
            categories_SC.unsqueeze(0),
            unknown_BS,
            torch.full((1, len(rows)), torch.nan, device=device),
            unknown_BS[:, 0],
        )

    def _search(self, vectors_KD: Tensor, k: int, seen: list[int]) -> list[Found]:
        exclude = Excluded(seen, [0, len(seen)]) if seen else None
        if self.index is not None:
            rows, scores = self.index.search(vectors_KD.float().cpu().numpy()[None], k, exclude)
        else:
            found = search(vectors_KD[None], self.candidates.items.vectors_ED, k, exclude)
            rows, scores = (part.cpu().numpy() for part in found)
        pairs = zip(rows[0].tolist(), np.asarray(scores[0], np.float64).tolist(), strict=True)
        return [
            Found(place, score, self.ids[row], self._title(row))
            for place, (row, score) in enumerate(pairs, start=1)
            if row != NOTHING
        ]

    def _title(self, row: int) -> str:
        return self.titles[row].strip() or self.ids[row]

    def _notes(self, clicks: list[Click], latest: list[Click]) -> list[str]:
        notes = [] if clicks else [EMPTY]
        if outside := sum(click.row == OUTSIDE for click in latest):
            named = next(click.title for click in latest if click.row == OUTSIDE)
            notes.append(
                f"'{named}' is no id and no title of the data: it is taken for the text of an item from outside."
                if outside == 1
                else f"{outside} of the clicks are no id and no title of the data, the first is '{named}': they are "
                "taken for texts of items from outside."
            )
        if len(latest) < len(clicks):
            notes.append(f"The latest {len(latest)} of {len(clicks)} clicks count, as in training.")
        return notes
