"""Slicing, padding and token pooling change nothing but the cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tastelab.config import EncoderConfig
from tastelab.modeling import short_attention, text_encoder
from tastelab.modeling.backbone import blocks, keep_lowest_layers
from tastelab.modeling.text_encoder import (
    TextEncoder,
    attention_kind,
    load_text_encoder,
    pool_tokens,
    token_slices,
)

LENGTHS: tuple[int, ...] = (19, 12, 12, 11, 7, 7, 6, 3, 2)


def load(folder: Path, pooling: str = "mean", **config: Any) -> TextEncoder:
    return load_text_encoder(EncoderConfig(token_pooling=pooling, **config), str(folder)).eval()


def rows(lengths: tuple[int, ...] = LENGTHS) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    mask_UT = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    tokens_UT = torch.randint(5, 57, mask_UT.shape, generator=generator)
    return tokens_UT * mask_UT, mask_UT


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("budget", [1, 24, 40, 10_000])
def test_slices_equal_one_by_one_encoding_without_padding(tiny_encoder: Path, pooling: str, budget: int) -> None:
    encoder = load(tiny_encoder, pooling)
    tokens_UT, mask_UT = rows()
    alone = [
        encoder.backbone(input_ids=t[m][None]).last_hidden_state[0] for t, m in zip(tokens_UT, mask_UT, strict=True)
    ]
    pooled = [{"mean": h.mean(dim=0), "cls": h[0], "last": h[-1]}[pooling] for h in alone]
    expected_UD = torch.stack([vector / vector.norm() for vector in pooled])
    encoder.token_budget = budget
    torch.testing.assert_close(encoder(tokens_UT, mask_UT), expected_UD, rtol=0, atol=2e-6)


def test_the_order_of_items_and_what_stands_in_the_padding_do_not_matter(tiny_encoder: Path) -> None:
    encoder = load(tiny_encoder)
    encoder.token_budget = 30
    tokens_UT, mask_UT = rows()
    sorted_UD = encoder(tokens_UT, mask_UT)
    order = torch.randperm(len(LENGTHS), generator=torch.Generator().manual_seed(0))
    dirty_UT = tokens_UT.masked_fill(~mask_UT, 9)
    torch.testing.assert_close(encoder(dirty_UT[order], mask_UT[order]), sorted_UD[order], rtol=0, atol=2e-6)


def test_vectors_are_float32_of_length_one_under_autocast(tiny_encoder: Path) -> None:
    encoder = load(tiny_encoder)
    with torch.autocast("cpu", torch.bfloat16):
        vectors_UD = encoder(*rows())
    assert vectors_UD.dtype is torch.float32
    torch.testing.assert_close(vectors_UD.norm(dim=1), torch.ones(len(LENGTHS)), rtol=0, atol=1e-6)
    torch.testing.assert_close(vectors_UD, encoder(*rows()), rtol=0, atol=0.05)


def test_slices_keep_the_budget_cover_every_item_and_know_their_longest() -> None:
    cut = list(token_slices(LENGTHS, 24))
    assert [row for piece, _ in cut for row in range(piece.start, piece.stop)] == list(range(len(LENGTHS)))
    assert all(width == max(LENGTHS[piece]) for piece, width in cut)
    assert all((piece.stop - piece.start) * width <= 24 or piece.stop - piece.start == 1 for piece, width in cut)
    assert cut == [(slice(0, 1), 19), (slice(1, 3), 12), (slice(3, 5), 11), (slice(5, 8), 7), (slice(8, 9), 2)]


def test_an_item_longer_than_the_budget_stands_alone() -> None:
    assert list(token_slices((9, 2), 4)) == [(slice(0, 1), 9), (slice(1, 2), 2)]


def test_a_cpu_never_runs_more_than_its_own_budget(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_encoder, "CPU_TOKEN_BUDGET", 24)
    encoder = load(tiny_bert)
    seen: list[int] = []
    encoder.backbone.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    encoder(*rows())
    assert max(seen) <= 24
    assert len(seen) == 5


def test_token_pooling_by_hand() -> None:
    hidden_nTD = torch.tensor([[[2.0, 4.0], [4.0, 8.0], [90.0, 90.0]], [[1.0, 1.0], [3.0, 5.0], [5.0, 0.0]]])
    mask_nT = torch.tensor([[True, True, False], [True, True, True]])
    assert pool_tokens(hidden_nTD, mask_nT, "mean").tolist() == [[3.0, 6.0], [3.0, 2.0]]
    assert pool_tokens(hidden_nTD, mask_nT, "cls").tolist() == [[2.0, 4.0], [1.0, 1.0]]
    assert pool_tokens(hidden_nTD, mask_nT, "last").tolist() == [[4.0, 8.0], [5.0, 0.0]]


def test_only_the_lowest_layers_are_kept(tiny_encoder: Path) -> None:
    whole, cut = load(tiny_encoder), load(tiny_encoder, num_layers=1)
    assert (len(blocks(whole.backbone)), len(blocks(cut.backbone))) == (2, 1)
    theirs = blocks(whole.backbone)[0].state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in blocks(cut.backbone)[0].state_dict().items())
    assert cut(*rows()).shape == (len(LENGTHS), 32)


@pytest.mark.parametrize("num_layers", [0, 3])
def test_a_number_of_layers_that_the_encoder_lacks_is_refused(tiny_bert: Path, num_layers: int) -> None:
    with pytest.raises(ValueError, match="choose 1 to 2"):
        keep_lowest_layers(load(tiny_bert).backbone, num_layers)


def test_dropout_is_what_the_configuration_says(tiny_encoder: Path) -> None:
    none, some = load(tiny_encoder).train(), load(tiny_encoder, dropout=0.5).train()
    assert torch.equal(none(*rows()), none(*rows()))
    assert not torch.allclose(some(*rows()), some(*rows()))


@pytest.mark.parametrize(
    ("config", "sentence"), [({"pooling": "max"}, "Unknown token pooling 'max'"), ({"dropout": 1.0}, "dropout is 1.0")]
)
def test_other_wrong_values_are_refused(tiny_bert: Path, config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        load(tiny_bert, **config)


def test_there_is_no_pooler_and_no_message(tiny_bert: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert load(tiny_bert).backbone.pooler is None
    assert capfd.readouterr() == ("", "")


def test_missing_weights_are_an_error_not_random_numbers(tiny_bert: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((tiny_bert / "config.json").read_bytes())
    weights = load_file(tiny_bert / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks weights, first encoder\.layer\.1\.output\.dense\.weight"):
        load(tmp_path)


def test_attention_is_what_the_machine_and_the_precision_allow() -> None:
    assert attention_kind("cuda", bf16=True, num_tokens=32, flash=True) == "flash_attention_2"
    assert attention_kind("cuda", bf16=False, num_tokens=32, flash=True) == "sdpa"
    assert attention_kind("cuda", bf16=True, num_tokens=32, flash=False) == "sdpa"
    assert attention_kind("cpu", bf16=True, num_tokens=32, flash=False) == "eager"
    assert attention_kind("cpu", bf16=True, num_tokens=200, flash=False) == short_attention.NAME
    assert attention_kind("cpu", bf16=True, num_tokens=512, flash=False) == "sdpa"
    assert attention_kind("cpu", bf16=False, num_tokens=32, flash=False) == "sdpa"


def test_minilm_gives_the_vectors_of_its_own_recipe(minilm: Path) -> None:
    from transformers import AutoModel

    from tastelab.modeling.encoders import load_tokenizer

    texts = ["A cat sat on the mat", "Quantum error correction with surface codes, explained", "beer"]
    inputs = load_tokenizer(str(minilm))(texts, padding=True, return_tensors="pt")
    hidden_nTD = AutoModel.from_pretrained(minilm, local_files_only=True)(**inputs).last_hidden_state
    weights_nT1 = inputs["attention_mask"][..., None]
    mean_nD = (hidden_nTD * weights_nT1).sum(1) / weights_nT1.sum(1)
    vectors_nD = load(minilm, "auto")(inputs["input_ids"], inputs["attention_mask"].bool())
    torch.testing.assert_close(vectors_nD, mean_nD / mean_nD.norm(dim=1, keepdim=True), rtol=0, atol=1e-6)
