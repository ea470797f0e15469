"""The text of items as a catalogue holds it: vectors of a frozen encoder, or tokens for one that is trained.

Shape letters: E items of any set, N items of the catalogue, F width of text vectors, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tastelab.config.retrieval import TEXTS
from tastelab.schema import Catalogue


def check_text(kind: str, catalogue: Catalogue, encoder_path: str) -> None:
    """Raise `ValueError` where an item tower asks for a text that the catalogue cannot give."""
    if kind not in TEXTS:
        raise ValueError(f"The items' text is '{kind}': choose one of {', '.join(TEXTS)}.")
    if kind == "frozen":
        _check_vectors(catalogue)
    if kind == "trained" and (catalogue.tokens_NT is None or catalogue.lengths_N is None or not encoder_path):
        raise ValueError(
            "The items' text is to be trained, and there are no tokens or no encoder: name an encoder, "
            "or set retrieval.items.text to 'frozen' or 'none'."
        )


def _check_vectors(catalogue: Catalogue) -> None:
    if catalogue.text_NF is None:
        raise ValueError(
            "The items' text is 'frozen', and there are no text vectors: name an encoder to compute them with, "
            "or set retrieval.items.text to 'none'."
        )
    if len(catalogue.text_NF) != catalogue.num_items:
        raise ValueError(
            f"There are {len(catalogue.text_NF):,} text vectors of {catalogue.num_items:,} items: "
            "compute them again for these data."
        )
    check_finite(catalogue.text_NF)


def check_finite(text_NF: Tensor) -> None:
    """Raise `ValueError` that says how many text vectors hold NaN or infinity."""
    # A sum is finite only if its terms are, and takes no memory of the size of the vectors.
    broken = (~text_NF.sum(dim=1, dtype=torch.float32).isfinite()).nonzero().squeeze(1)
    if len(broken):
        raise ValueError(
            f"The text vectors of {len(broken):,} of {len(text_NF):,} items hold NaN or infinity, the first is that of "
            f"item {int(broken[0])}: compute them again, in float32 if they were made in half precision."
        )


def frozen_rows(catalogue: Catalogue, rows_E: Tensor) -> Tensor:
    """Gather frozen text vectors, text_EF in the precision that they are kept in."""
    assert catalogue.text_NF is not None
    return catalogue.text_NF[rows_E]


def token_rows(catalogue: Catalogue, rows_E: Tensor) -> tuple[Tensor, Tensor]:
    """Gather token rows cut to the longest, int64 (E, T), and where tokens are real, bool (E, T).

    An item without a token reads its first padding token: attention to nothing has no value.
    """
    assert catalogue.tokens_NT is not None and catalogue.lengths_N is not None
    lengths_E = catalogue.lengths_N[rows_E].clamp(min=1)
    longest = int(lengths_E.max()) if len(rows_E) else 0
    return catalogue.tokens_NT[rows_E, :longest].long(), torch.arange(longest) < lengths_E.unsqueeze(1)
