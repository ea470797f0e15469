"""Adaptations: what is trained, LoRA at its start, and merging."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tastelab.config import Adaptation, EncoderConfig
from tastelab.modeling.lora import EncoderAdaptation, Frozen, FullFineTuning, LoRA, linear_layers, merge
from tastelab.modeling.text_encoder import TextEncoder, load_text_encoder


def adapted(folder: Path, adaptation: EncoderAdaptation) -> TextEncoder:
    encoder = load_text_encoder(EncoderConfig(), str(folder)).eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        adaptation.apply(encoder.backbone)
    return encoder


def rows() -> tuple[Tensor, Tensor]:
    tokens_UT = torch.randint(5, 57, (5, 9), generator=torch.Generator().manual_seed(2))
    mask_UT = torch.arange(9) < torch.tensor([9, 9, 7, 4, 2])[:, None]
    return tokens_UT, mask_UT


def trained(encoder: TextEncoder) -> set[str]:
    return {name for name, p in encoder.backbone.named_parameters() if p.requires_grad}


def shake(encoder: TextEncoder) -> None:
    """Move every trained parameter, as training would."""
    generator = torch.Generator().manual_seed(5)
    for parameter in encoder.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("adaptation", [LoRA(1), LoRA(8), LoRA(32, rslora=True), Frozen(), FullFineTuning()])
def test_an_adapted_encoder_starts_as_the_encoder(tiny_encoder: Path, adaptation: EncoderAdaptation) -> None:
    plain = load_text_encoder(EncoderConfig(), str(tiny_encoder)).eval()
    torch.testing.assert_close(adapted(tiny_encoder, adaptation)(*rows()), plain(*rows()), rtol=0, atol=1e-6)


def test_lora_at_its_start_is_minilm(minilm: Path) -> None:
    plain = load_text_encoder(EncoderConfig(), str(minilm)).eval()
    tokens_UT, mask_UT = rows()
    difference = adapted(minilm, LoRA())(tokens_UT + 2_000, mask_UT) - plain(tokens_UT + 2_000, mask_UT)
    assert difference.abs().max() <= 1e-6


@pytest.mark.parametrize("folder", ["tiny_bert", "tiny_modernbert"])
def test_every_linear_layer_of_the_blocks_is_a_target(folder: str, request: pytest.FixtureRequest) -> None:
    backbone = load_text_encoder(EncoderConfig(), str(request.getfixturevalue(folder))).backbone
    names = linear_layers(backbone)
    kinds = {"tiny_bert": {"query", "key", "value", "dense"}, "tiny_modernbert": {"Wqkv", "Wo", "Wi"}}[folder]
    assert {name.rpartition(".")[2] for name in names} == kinds
    assert set(names) == {name for name, module in backbone.named_modules() if isinstance(module, nn.Linear)}


def test_lora_trains_adapters_and_nothing_else(tiny_encoder: Path) -> None:
    encoder = adapted(tiny_encoder, LoRA(rank=3))
    targets = linear_layers(load_text_encoder(EncoderConfig(), str(tiny_encoder)).backbone)
    assert trained(encoder) == {f"{name}.lora_{side}.default.weight" for name in targets for side in "AB"}
    by_name = dict(encoder.backbone.named_parameters())
    assert all(3 in by_name[name].shape for name in trained(encoder))


def scales(encoder: TextEncoder) -> set[float]:
    from peft.tuners.lora import LoraLayer

    return {module.scaling["default"] for module in encoder.modules() if isinstance(module, LoraLayer)}


@pytest.mark.parametrize("rank", [2, 16])
def test_the_scale_does_not_depend_on_the_rank(tiny_bert: Path, rank: int) -> None:
    assert scales(adapted(tiny_bert, LoRA(rank))) == {2.0}


def test_alpha_and_rslora_set_the_scale(tiny_bert: Path) -> None:
    assert scales(adapted(tiny_bert, LoRA(rank=4, alpha=6.0))) == {1.5}
    assert scales(adapted(tiny_bert, LoRA(rank=4, alpha=6.0, rslora=True))) == {3.0}


@pytest.mark.parametrize("adaptation", [LoRA(), Frozen(), FullFineTuning(), FullFineTuning(0.5)])
def test_word_embeddings_are_never_trained(tiny_encoder: Path, adaptation: EncoderAdaptation) -> None:
    encoder = adapted(tiny_encoder, adaptation)
    words = encoder.backbone.get_input_embeddings().weight
    before = words.detach().clone()
    vectors_UD = encoder(*rows())
    if vectors_UD.requires_grad:
        (vectors_UD * torch.randn_like(vectors_UD)).sum().backward()
    assert words.grad is None
    torch.optim.AdamW([p for p in encoder.parameters() if p.requires_grad] or [torch.zeros(1)], weight_decay=0.5).step()
    assert torch.equal(words, before)


def test_full_fine_tuning_trains_all_but_the_words_and_every_parameter_gets_a_gradient(tiny_encoder: Path) -> None:
    encoder = adapted(tiny_encoder, FullFineTuning())
    vectors_UD = encoder(*rows())
    (vectors_UD * torch.randn_like(vectors_UD)).sum().backward()
    without = {name for name, p in encoder.backbone.named_parameters() if p.grad is None}
    assert len(without) == 1
    assert "tok_embeddings" in next(iter(without)) or "word_embeddings" in next(iter(without))


def test_the_lowest_layers_and_all_embeddings_stay_frozen(tiny_bert: Path) -> None:
    names = trained(adapted(tiny_bert, FullFineTuning(frozen_layers_share=0.5)))
    assert names
    assert all(name.startswith("encoder.layer.1.") for name in names)


def test_frozen_trains_nothing(tiny_encoder: Path) -> None:
    assert not trained(adapted(tiny_encoder, Frozen()))


def test_merged_adapters_give_the_same_vectors_in_a_plain_encoder(tiny_encoder: Path) -> None:
    encoder = adapted(tiny_encoder, LoRA(rank=4))
    start_UD = encoder(*rows())
    shake(encoder)
    moved_UD = encoder(*rows())
    assert not torch.allclose(moved_UD, start_UD, atol=1e-3)
    merge(encoder.backbone)
    torch.testing.assert_close(encoder(*rows()), moved_UD, rtol=0, atol=1e-5)
    plain = load_text_encoder(EncoderConfig(), str(tiny_encoder)).backbone
    assert encoder.backbone.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("rank", [0, -1])
def test_a_rank_below_one_is_refused(rank: int) -> None:
    with pytest.raises(ValueError, match=f"The LoRA rank is {rank}: choose 1 or more"):
        Adaptation.named("lora", rank=rank)


def test_a_rank_above_the_width_is_refused_without_and_with_weights(tiny_bert: Path) -> None:
    LoRA(32).check(32)
    with pytest.raises(ValueError, match="choose a rank up to 32"):
        LoRA(33).check(32)
    with pytest.raises(ValueError, match="choose a rank up to 32"):
        adapted(tiny_bert, LoRA(33))


@pytest.mark.parametrize(
    ("name", "parameters", "sentence"),
    [
        ("lora", {"alpha": 0.0}, "alpha"),
        ("lora", {"dropout": 1.0}, "dropout"),
        ("full", {"frozen_layers_share": 1.5}, "frozen_layers_share"),
    ],
)
def test_other_wrong_values_are_refused(name: str, parameters: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Adaptation.named(name, **parameters)


def test_labels_for_tables() -> None:
    labels = [a.label for a in (FullFineTuning(), FullFineTuning(0.5), LoRA(4), Frozen())]
    assert labels == ["full", "full, 50% frozen", "LoRA r=4", "frozen"]


class Convolved(nn.Module):
    """An encoder whose blocks convolve: its only linear layers stand beside them."""

    def __init__(self, linear: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(8, 4)
        self.layers = nn.ModuleList(nn.Sequential(nn.Conv1d(4, 4, 3), nn.LayerNorm(4)) for _ in range(3))
        if linear:
            self.projection = nn.Linear(4, 4)
            self.head = nn.Sequential(nn.Linear(4, 2))


@pytest.mark.parametrize(("linear", "named"), [(True, "projection, head.0"), (False, "none at all")])
def test_an_encoder_without_linear_layers_in_its_blocks_is_told_what_it_has(linear: bool, named: str) -> None:
    with pytest.raises(ValueError) as caught:
        linear_layers(Convolved(linear))  # type: ignore[arg-type]
    assert str(caught.value) == (
        "The encoder's blocks have no linear layer that LoRA could adapt; they hold Conv1d, LayerNorm, and its "
        f"linear layers are {named}: use adaptation 'full'."
    )
