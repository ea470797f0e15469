"""Frozen layers run once per text: their outputs are kept and reused, step after step.

Shape letters: U items, N of them that are new, n rows of one slice, T tokens, D width; M tokens of all kept texts.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from tastelab.modeling.backbone import blocks
from tastelab.modeling.kept_rows import KeptRows
from tastelab.modeling.lora import embeddings
from tastelab.modeling.slices import token_slices

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger("tastelab")


class ReusedLayers:
    """An encoder cut in two: the lowest blocks, frozen, whose outputs are kept per text, and the rest.

    It is no module and owns no parameter: the two parts are shallow copies of the encoder, made for each use, that
    share all its modules, so its device and its attention are theirs too. What is kept stays for the life of the
    process, since frozen weights never change; only another autocast precision starts anew.
    """

    def __init__(self, backbone: PreTrainedModel, num_layers: int, megabytes: int) -> None:
        """Cut above the lowest `num_layers` blocks (1 or more); outputs are kept in at most so much memory."""
        self.backbone = backbone
        self.num_layers = num_layers
        self._kept = KeptRows(int(backbone.config.hidden_size), megabytes)
        self._precision: torch.dtype | None = None

    def learn(self, tokens_UT: Tensor, mask_UT: Tensor, ids_U: Tensor, token_budget: int) -> Tensor:
        """Run the frozen blocks on the texts that are new and keep their outputs, while there is room.

        Args:
            tokens_UT: right-padded token rows, longest first.
            mask_UT: True for a real token.
            ids_U: what identifies each text, from 0 on and always the same text; -1 for a text not to be kept.
            token_budget: padded tokens in one pass.

        Returns:
            Where each text's outputs are kept, for `hidden`: int64 (U,) on the CPU, -1 for a text that is not kept.
        """
        self._start_anew_in_another_precision(tokens_UT.device.type)
        ids_U = ids_U.cpu()
        new_N = ((ids_U >= 0) & (self._kept.starts(ids_U) < 0)).nonzero().flatten()
        if len(new_N):
            lengths_N = mask_UT.sum(dim=1).cpu()[new_N]
            new_N = new_N[lengths_N.cumsum(0) <= self._kept.room]
        # Validation fills what training then saves for its backward pass, so inference mode must not mark it.
        with torch.inference_mode(False), torch.no_grad():
            self._learn(tokens_UT, mask_UT, ids_U, new_N, token_budget)
        return self._kept.starts(ids_U)

    def hidden(self, tokens_nT: Tensor, mask_nT: Tensor, attended_nT: Tensor | None, starts_n: Tensor) -> Tensor:
        """Return the encoder's last hidden states (n, T, D); what is kept is not computed.

        Args:
            tokens_nT: right-padded token rows.
            mask_nT: True for a real token.
            attended_nT: the mask, or None where every token is real.
            starts_n: as `learn` returned them.
        """
        new_n = starts_n < 0
        if bool(new_n.all()):
            below_nTD = self._below(tokens_nT, attended_nT)
        else:
            below_nTD = self._kept.take(starts_n, mask_nT)
            if bool(new_n.any()):
                rows = new_n.nonzero().flatten().to(tokens_nT.device)
                attended = None if attended_nT is None else attended_nT[rows]
                below_nTD[rows] = self._below(tokens_nT[rows], attended)
        return self._above(below_nTD, attended_nT)

    def fits(self) -> bool:
        """Tell whether the two parts in turn give what the encoder gives, on a text of a few tokens."""
        device = self.backbone.get_input_embeddings().weight.device
        tokens_1T = torch.arange(4, device=device)[None]
        with torch.no_grad():
            whole = self.backbone(input_ids=tokens_1T, attention_mask=None).last_hidden_state
            try:
                cut = self._above(self._below(tokens_1T, None), None)
            except (AttributeError, RuntimeError, TypeError, ValueError):  # an encoder that is built in another way
                return False
        return cut.shape == whole.shape and torch.allclose(cut, whole, rtol=1e-4, atol=1e-4)

    def _start_anew_in_another_precision(self, device: str) -> None:
        precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        if precision is not self._precision:
            self._precision = precision
            self._kept.clear()

    def _learn(self, tokens_UT: Tensor, mask_UT: Tensor, ids_U: Tensor, new_N: Tensor, token_budget: int) -> None:
        rows_N = new_N.to(tokens_UT.device)
        tokens_NT, mask_NT = tokens_UT[rows_N], mask_UT[rows_N]
        lengths = mask_NT.sum(dim=1).tolist()
        for rows, width in token_slices(lengths, token_budget):
            mask_nT = mask_NT[rows, :width]
            attended = mask_nT if min(lengths[rows]) < width else None
            below_nTD = self._below(tokens_NT[rows, :width], attended)
            self._kept.add(ids_U[new_N[rows]], below_nTD[mask_nT], torch.tensor(lengths[rows]))

    def _below(self, tokens_nT: Tensor, attended_nT: Tensor | None) -> Tensor:
        """Return the output of the highest frozen block (n, T, D), before any norm that follows the last block."""
        stack = blocks(self.backbone)
        lower = _with_parts(self.backbone, {stack: stack[: self.num_layers]})
        caught: list[Any] = []
        with torch.no_grad(), stack[self.num_layers - 1].register_forward_hook(lambda *call: caught.append(call[2])):
            lower(input_ids=tokens_nT, attention_mask=attended_nT)
        return cast(Tensor, caught[0][0] if isinstance(caught[0], tuple) else caught[0])

    def _above(self, below_nTD: Tensor, attended_nT: Tensor | None) -> Tensor:
        stack = blocks(self.backbone)
        parts = {stack: stack[self.num_layers :], embeddings(self.backbone): _Given()}
        upper = _with_parts(self.backbone, parts)
        return cast(Tensor, upper(inputs_embeds=below_nTD, attention_mask=attended_nT).last_hidden_state)


class _Given(nn.Module):
    """Stands in place of the embeddings and passes on what comes in their place."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the hidden states among the arguments, wherever this encoder puts them."""
        given = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        return next(value for value in given if value.is_floating_point())


def _with_parts(module: nn.Module, parts: dict[nn.Module, nn.Module]) -> nn.Module:
    """Return a shallow copy of `module` with other modules in place of some inside it; all else is shared."""
    if module in parts:
        return parts[module]
    inside = {name: inner and _with_parts(inner, parts) for name, inner in module._modules.items()}
    if all(inside[name] is inner for name, inner in module._modules.items()):
        return module
    copied = module.__class__.__new__(module.__class__)
    copied.__dict__.update(module.__dict__, _modules=inside)
    return copied
