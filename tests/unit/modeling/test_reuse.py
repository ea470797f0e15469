"""Frozen layers whose outputs are kept give what the whole encoder gives, and run once per text."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tastelab.config import Adaptation, EncoderConfig, ModelConfig
from tastelab.modeling.backbone import blocks
from tastelab.modeling.bi_encoder import load_adapted_encoder
from tastelab.modeling.ranker import Resources, build_ranker
from tastelab.modeling.reuse import ReusedLayers
from tastelab.modeling.text_encoder import TextEncoder

LENGTHS: tuple[int, ...] = (12, 3, 19, 7, 7, 2, 11, 6, 12)
IDS = torch.tensor([40, 3, 8, 0, 5, 70, 1, 2, 9])


@pytest.fixture(scope="module")
def modernbert(save_encoder: Callable[[Any, str], Path]) -> Path:
    """A random ModernBERT of 4 layers, global attention in the first and the last, a window of 8 tokens between."""
    from transformers import ModernBertConfig, ModernBertModel

    config = ModernBertConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=48,
        global_attn_every_n_layers=3,
        local_attention=8,
        pad_token_id=0,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return save_encoder(ModernBertModel(config), "modernbert")


@pytest.fixture(scope="module", params=["bert", "modernbert"])
def folder(request: pytest.FixtureRequest, tiny_bert: Path, modernbert: Path) -> Path:
    return tiny_bert if request.param == "bert" else modernbert


def load(folder: Path, reuse_mb: int, share: float = 0.5, budget: int = 40) -> TextEncoder:
    encoder = EncoderConfig(token_pooling="mean")
    config = ModelConfig(encoder=encoder, adaptation=Adaptation.named("full", frozen_layers_share=share))
    return load_adapted_encoder(config, Resources(str(folder), budget, reuse_mb=reuse_mb))


def rows(seed: int = 3) -> tuple[Tensor, Tensor]:
    mask_UT = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    return torch.randint(5, 57, mask_UT.shape, generator=torch.Generator().manual_seed(seed)) * mask_UT, mask_UT


def gradients(encoder: TextEncoder, ids_U: Tensor | None = IDS, keep: Tensor | None = None) -> dict[str, Tensor]:
    """Return the gradient of a loss that looks at every vector, and the loss itself."""
    tokens_UT, mask_UT = rows()
    keep = torch.arange(len(mask_UT)) if keep is None else keep
    encoder.zero_grad()
    vectors_UD = encoder(tokens_UT[keep], mask_UT[keep], None if ids_U is None else ids_U[keep])
    weights_UD = torch.randn(len(mask_UT), encoder.width, generator=torch.Generator().manual_seed(5))[keep]
    loss = (vectors_UD * weights_UD).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    found = {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}
    return found | {"loss": loss.detach()}


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor], rtol: float, atol: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=rtol, atol=atol, msg=lambda m, name=name: f"{name}: {m}")


def count_calls(encoder: TextEncoder, block: int) -> list[int]:
    """Return a list that gains the number of rows of each call of a block."""
    rows_of_calls: list[int] = []
    blocks(encoder.backbone)[block].register_forward_hook(lambda *call: rows_of_calls.append(len(call[1][0])))
    return rows_of_calls


def test_loss_and_gradients_are_those_without_reuse(folder: Path) -> None:
    plain, reusing = load(folder, 0), load(folder, 1)
    expected = gradients(plain)
    for _ in range(3):  # the first pass fills, the others take
        assert_same(gradients(reusing), expected, rtol=1e-5, atol=1e-6)
    some = torch.tensor([4, 0, 7])
    assert_same(gradients(reusing, keep=some), gradients(plain, keep=some), rtol=1e-5, atol=1e-6)


def test_under_bfloat16_the_difference_is_one_of_rounding(folder: Path) -> None:
    plain, reusing = load(folder, 0), load(folder, 1)
    exact = gradients(plain)
    with torch.autocast("cpu", torch.bfloat16):
        expected = gradients(plain)
        found = [gradients(reusing) for _ in range(2)]
    for ours in found:
        for name, value in ours.items():
            rounding = (expected[name] - exact[name]).norm() + 1e-3
            assert (value - expected[name]).norm() <= 2 * rounding, name


def test_precisions_are_not_mixed(folder: Path) -> None:
    plain, reusing = load(folder, 0), load(folder, 1)
    with torch.autocast("cpu", torch.bfloat16):
        reusing(*rows(), IDS)
    assert_same(gradients(reusing), gradients(plain), rtol=1e-5, atol=1e-6)


def test_frozen_blocks_run_once_per_text_and_the_others_each_time(folder: Path) -> None:
    encoder = load(folder, 1)
    below, above = count_calls(encoder, 0), count_calls(encoder, -1)
    gradients(encoder, keep=torch.arange(4))
    assert sum(below) == 4
    gradients(encoder)
    assert sum(below) == len(LENGTHS), "only the five new texts"
    gradients(encoder)
    assert sum(below) == len(LENGTHS)
    assert sum(above) == 4 + 2 * len(LENGTHS)


def test_a_text_without_identity_is_computed_each_time_and_never_kept(folder: Path) -> None:
    plain, encoder = load(folder, 0), load(folder, 1)
    ids_U = IDS.clone()
    ids_U[[1, 6]] = -1
    below = count_calls(encoder, 0)
    for total in (len(LENGTHS), len(LENGTHS) + 2, len(LENGTHS) + 4):
        assert_same(gradients(encoder, ids_U), gradients(plain), rtol=1e-5, atol=1e-6)
        assert sum(below) == total


def test_without_room_the_rest_is_computed_each_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, encoder = load(folder, 0), load(folder, 1)
    assert encoder._layers is not None
    kept = encoder._layers._kept
    assert kept.limit * encoder.width * 4 == 2**20
    monkeypatch.setattr(kept, "limit", 40)  # the three longest texts have 19, 12 and 12 tokens
    below = count_calls(encoder, 0)
    for total in (len(LENGTHS), 2 * len(LENGTHS) - 2, 3 * len(LENGTHS) - 4):
        assert_same(gradients(encoder), gradients(plain), rtol=1e-5, atol=1e-6)
        assert sum(below) == total
        assert kept.used == 31
        assert kept._kept_MD is not None and len(kept._kept_MD) <= 40


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_what_an_evaluation_kept_can_be_trained_on(folder: Path, mode: Callable[[], Any]) -> None:
    plain, encoder = load(folder, 0), load(folder, 1)
    below = count_calls(encoder, 0)
    with mode():
        vectors_UD = encoder(*rows(), IDS)
    torch.testing.assert_close(vectors_UD, plain(*rows()), rtol=0, atol=1e-6)
    assert_same(gradients(encoder), gradients(plain), rtol=1e-5, atol=1e-6)
    assert sum(below) == len(LENGTHS)
    with mode():
        torch.testing.assert_close(encoder(*rows(), IDS), plain(*rows()), rtol=0, atol=1e-6)


def test_with_all_blocks_frozen_what_follows_them_still_runs(folder: Path) -> None:
    plain, encoder = load(folder, 0, share=1.0), load(folder, 1, share=1.0)
    below = count_calls(encoder, -1)
    for _ in range(2):
        torch.testing.assert_close(encoder(*rows(), IDS), plain(*rows()), rtol=0, atol=1e-6)
    assert sum(below) == len(LENGTHS)


def test_token_vectors_are_those_without_reuse(folder: Path) -> None:
    plain, encoder = load(folder, 0), load(folder, 1)
    tokens_UT, mask_UT = rows()
    kept_UT = mask_UT & (tokens_UT % 3 > 0)
    for _ in range(2):
        ours_MD = encoder.token_vectors(tokens_UT, mask_UT, kept_UT, IDS)
        torch.testing.assert_close(ours_MD, plain.token_vectors(tokens_UT, mask_UT, kept_UT), rtol=0, atol=1e-6)


def test_texts_without_ids_pass_the_frozen_blocks_without_a_graph(folder: Path) -> None:
    encoder = load(folder, 1)
    seen: list[Tensor] = []
    half = len(blocks(encoder.backbone)) // 2
    blocks(encoder.backbone)[half - 1].register_forward_hook(lambda *call: seen.append(call[2]))
    gradients(encoder, None)
    assert seen and not any(output.requires_grad for output in seen)


def test_reuse_adds_no_parameter_and_no_name(folder: Path) -> None:
    plain, encoder = load(folder, 0), load(folder, 1)
    gradients(encoder)
    assert list(encoder.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in encoder.named_parameters()] == [name for name, _ in plain.named_parameters()]
    assert [name for name, _ in encoder.named_modules()] == [name for name, _ in plain.named_modules()]
    assert len(blocks(encoder.backbone)) == len(blocks(plain.backbone))
    assert not any(block._forward_hooks for block in blocks(encoder.backbone))


def test_weights_trained_above_the_cut_are_used_at_once(folder: Path) -> None:
    plain, encoder = load(folder, 0), load(folder, 1)
    for model in (plain, encoder):
        for _ in range(3):
            gradients(model)
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.grad is not None:
                        parameter -= 0.01 * parameter.grad
    torch.testing.assert_close(encoder(*rows(), IDS), plain(*rows()), rtol=0, atol=1e-4)


def test_a_copy_keeps_to_its_own_weights(tiny_bert: Path) -> None:
    encoder = load(tiny_bert, 1)
    before = encoder(*rows(), IDS).detach()
    other = copy.deepcopy(encoder)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.0 + 0.5 * parameter.requires_grad)
    assert not torch.allclose(other(*rows(), IDS), before, atol=1e-3)
    torch.testing.assert_close(encoder(*rows(), IDS), before, rtol=0, atol=1e-6)


def test_an_encoder_that_cannot_be_cut_is_computed_whole(tiny_bert: Path) -> None:
    encoder = load(tiny_bert, 0)

    class Refusing(type(encoder.backbone)):  # type: ignore[misc]
        def forward(self, input_ids: Tensor, **more: Any) -> Any:
            return super().forward(input_ids=input_ids, **more)

    assert ReusedLayers(encoder.backbone, 1, 1).fits()
    encoder.backbone.__class__ = Refusing
    assert not ReusedLayers(encoder.backbone, 1, 1).fits()
    encoder.reuse(1, 1)
    assert encoder._layers is None


@pytest.mark.parametrize(("adaptation", "frozen"), [("lora", 0), ("frozen", 2)])
def test_what_is_frozen_is_what_is_reused(tiny_bert: Path, adaptation: str, frozen: int) -> None:
    config = ModelConfig(adaptation=Adaptation.named(adaptation))
    ranker: nn.Module = build_ranker(config, str(tiny_bert))
    layers = ranker.get_submodule("encoder")._layers
    assert (layers.num_layers if isinstance(layers, ReusedLayers) else 0) == frozen
