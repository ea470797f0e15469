"""Which parameters of the encoder are trained: all of them, low-rank adapters, or none.

Word embeddings are frozen in every case (methods.md §4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from tastelab.config import Adaptation
from tastelab.modeling.backbone import blocks

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class EncoderAdaptation(Adaptation):
    """What every adaptation offers."""

    @property
    def label(self) -> str:
        """Short name for a table's row."""
        raise NotImplementedError

    def check(self, width: int) -> None:
        """Raise `ValueError` if an encoder of this width cannot be adapted so; needs no weights."""

    def apply(self, backbone: PreTrainedModel) -> None:
        """Set what is trained, in place; adapters are added where the adaptation has any."""
        raise NotImplementedError

    def num_frozen(self, backbone: PreTrainedModel) -> int:
        """Count the lowest blocks that stay as pre-trained, embeddings below them included."""
        return 0


@Adaptation.register("full")
@dataclass(frozen=True)
class FullFineTuning(EncoderAdaptation):
    """Every parameter above the frozen part, the word embeddings excepted."""

    frozen_layers_share: float = 0.0
    """Share of the blocks, from the lowest, that stay as pre-trained; with any of them, all embeddings do too."""

    def __post_init__(self) -> None:
        """Refuse a share outside [0, 1]."""
        if not 0.0 <= self.frozen_layers_share <= 1.0:
            raise ValueError(f"frozen_layers_share is {self.frozen_layers_share}: choose a number from 0 to 1.")

    @property
    def label(self) -> str:
        """`full`, or with the frozen share."""
        return f"full, {self.frozen_layers_share:.0%} frozen" if self.frozen_layers_share else "full"

    def apply(self, backbone: PreTrainedModel) -> None:
        """Train all but the word embeddings and the lowest `round(share · blocks)` blocks."""
        backbone.requires_grad_(True)
        stack = blocks(backbone)
        num_frozen = self.num_frozen(backbone)
        if num_frozen:
            embeddings(backbone).requires_grad_(False)
        for block in stack[:num_frozen]:
            block.requires_grad_(False)
        backbone.get_input_embeddings().requires_grad_(False)

    def num_frozen(self, backbone: PreTrainedModel) -> int:
        """Return `round(share · blocks)`."""
        return round(self.frozen_layers_share * len(blocks(backbone)))


@Adaptation.register("lora")
@dataclass(frozen=True)
class LoRA(EncoderAdaptation):
    """Low-rank adapters, `W x + (alpha / r) B A x`, on every linear layer of the encoder's blocks; no bias is trained.

    `B` starts at zero, so the adapted encoder starts as the pre-trained one. The scale is `alpha / r`, or
    `alpha / sqrt(r)` with `rslora`.
    """

    rank: int = 8
    alpha: float | None = None
    """None is 2·rank: one scale for every rank, so that a sweep over ranks is not one over learning rates."""
    dropout: float = 0.0
    rslora: bool = False

    def __post_init__(self) -> None:
        """Refuse what no encoder could take."""
        if self.rank < 1:
            raise ValueError(f"The LoRA rank is {self.rank}: choose 1 or more (adaptation 'frozen' trains no adapter).")
        if self.alpha is not None and self.alpha <= 0:
            raise ValueError(f"The LoRA alpha is {self.alpha}: choose a number above 0, or none for 2·rank.")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"The LoRA dropout is {self.dropout}: choose a number from 0 to below 1.")

    @property
    def label(self) -> str:
        """`LoRA r=8`."""
        return f"LoRA r={self.rank}"

    def check(self, width: int) -> None:
        """Raise `ValueError` if the rank exceeds the encoder's width."""
        if self.rank > width:
            raise ValueError(f"The LoRA rank is {self.rank}, the encoder's width {width}: choose a rank up to {width}.")

    def apply(self, backbone: PreTrainedModel) -> None:
        """Add the adapters in place and freeze everything else."""
        from peft import LoraConfig, inject_adapter_in_model
        from peft.tuners.lora import LoraLayer

        self.check(int(backbone.config.hidden_size))
        config = LoraConfig(
            r=self.rank,
            lora_alpha=2 * self.rank if self.alpha is None else self.alpha,
            lora_dropout=self.dropout,
            use_rslora=self.rslora,
            target_modules=linear_layers(backbone),
            bias="none",
        )
        inject_adapter_in_model(config, backbone)
        for module in backbone.modules():
            if isinstance(module, LoraLayer):
                # Autocast casts by itself; a cast up to the adapter's float32 first would be two passes for nothing.
                module.cast_input_dtype_enabled = False
        for name, parameter in backbone.named_parameters():
            parameter.requires_grad_("lora_" in name)


@Adaptation.register("frozen")
@dataclass(frozen=True)
class Frozen(EncoderAdaptation):
    """The encoder stays as it was pre-trained."""

    @property
    def label(self) -> str:
        """`frozen`."""
        return "frozen"

    def apply(self, backbone: PreTrainedModel) -> None:
        """Freeze every parameter of the encoder."""
        backbone.requires_grad_(False)

    def num_frozen(self, backbone: PreTrainedModel) -> int:
        """All blocks."""
        return len(blocks(backbone))


def linear_layers(backbone: PreTrainedModel) -> list[str]:
    """Return the full names of all linear layers inside the encoder's blocks.

    For BERT these end in query, key, value and dense; for ModernBERT in Wqkv, Wo and Wi. Raises `ValueError` for an
    encoder whose blocks have none.
    """
    inside = {id(module) for module in blocks(backbone).modules()}
    names = [name for name, m in backbone.named_modules() if isinstance(m, nn.Linear) and id(m) in inside]
    if not names:
        outside = [name for name, module in backbone.named_modules() if isinstance(module, nn.Linear)]
        kinds = sorted({type(m).__name__ for m in blocks(backbone).modules() if any(True for _ in m.parameters(False))})
        raise ValueError(
            f"The encoder's blocks have no linear layer that LoRA could adapt; they hold {', '.join(kinds)}, and its "
            f"linear layers are {', '.join(outside) or 'none at all'}: use adaptation 'full'."
        )
    return names


def merge(backbone: PreTrainedModel) -> PreTrainedModel:
    """Fold the adapters into the weights they adapt and take them out, in place: the encoder is a plain one again."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(backbone.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge(safe_merge=True)
            parent, _, attribute = name.rpartition(".")
            setattr(backbone.get_submodule(parent), attribute, module.get_base_layer())
    return backbone


def embeddings(backbone: PreTrainedModel) -> nn.Module:
    """Return everything below the first block: the part of the encoder that holds the word embeddings."""
    words: nn.Module = backbone.get_input_embeddings()
    return next((part for part in backbone.children() if any(inner is words for inner in part.modules())), words)
