"""Configuration: frozen dataclasses all the way down, one registry per kind of component, and the run id.

`RunConfig` is the science: `run_id` hashes it, defaults included, with the fingerprints of the data and of the
encoder. `ClusterConfig` is where a run happens; it never changes a result, so it is not hashed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

METHOD_VERSION = 1
"""Raised when a change of code changes results; records of an older version print as stale."""

C = TypeVar("C", bound="Component")
T = TypeVar("T")


@dataclass(frozen=True)
class Component:
    """A named, configurable part of a run: a frozen dataclass registered under its kind.

    A *kind* subclasses `Component` with `kind=` and `home=` (the package whose import registers its members). A
    member subclasses the kind and is decorated with `@Kind.register("name")`, above `@dataclass(frozen=True)`.
    """

    kind: ClassVar[str] = "component"
    home: ClassVar[str] = ""
    name: ClassVar[str] = ""
    members: ClassVar[dict[str, type[Component]]] = {}

    def __init_subclass__(cls, kind: str = "", home: str = "", **kwargs: Any) -> None:
        """Give each kind a registry of its own."""
        super().__init_subclass__(**kwargs)
        if kind:
            cls.kind, cls.home, cls.members = kind, home, {}

    @classmethod
    def register(cls, name: str) -> Callable[[type[C]], type[C]]:
        """Return a decorator that files a frozen dataclass under `name` in this kind's registry."""

        def add(member: type[C]) -> type[C]:
            if name in cls.members:
                raise ValueError(f"The {cls.kind} '{name}' is registered twice.")
            member.name = name
            cls.members[name] = member
            return member

        return add

    @classmethod
    def named(cls: type[C], name: str, **parameters: Any) -> C:
        """Build the member called `name`; a wrong name or parameter raises `ValueError` listing the right ones."""
        importlib.import_module(cls.home)
        if name not in cls.members:
            raise ValueError(f"Unknown {cls.kind} '{name}': choose one of {', '.join(sorted(cls.members))}.")
        member = cls.members[name]
        return typing.cast(C, from_dict(member, parameters))


@dataclass(frozen=True)
class Architecture(Component, kind="architecture", home="tastelab.modeling"):
    """How texts are put to the encoder and how its vectors become scores."""


@dataclass(frozen=True)
class Adaptation(Component, kind="adaptation", home="tastelab.modeling"):
    """Which parameters of the encoder are trained: all, low-rank adapters, none."""


@dataclass(frozen=True)
class Pooling(Component, kind="item pooling", home="tastelab.modeling"):
    """How the item vectors of a history become a user."""


@dataclass(frozen=True)
class Scorer(Component, kind="scorer", home="tastelab.modeling"):
    """How a user vector and a candidate vector become a score."""


@dataclass(frozen=True)
class Loss(Component, kind="loss", home="tastelab.losses"):
    """A ranking loss of one impression's scores."""


@dataclass(frozen=True)
class Auxiliary(Component, kind="auxiliary loss", home="tastelab.losses"):
    """A term added to the ranking loss, with a weight."""


@dataclass(frozen=True)
class Sampler(Component, kind="candidate sampler", home="tastelab.data.sampling"):
    """How the training candidates of an impression are drawn from its slots."""


@dataclass(frozen=True)
class DataConfig:
    """What the model reads of the data (methods.md §2)."""

    dataset: str = "synthetic"
    """Label of the prepared data set; its fingerprint, not its place, enters the run id."""
    features: tuple[str, ...] = ("title",)
    max_tokens: int = 32
    max_history: int = 50
    sampler: Sampler = field(default_factory=lambda: Sampler.named("impression"))
    train_impressions: int | None = None
    """Cap on training impressions, drawn evenly over the fitting part; None takes all."""
    validation_share: float = 0.1
    """Share of the train split, cut from its end in time, that choosing may look at."""


@dataclass(frozen=True)
class EncoderConfig:
    """Any `transformers` text encoder."""

    name: str = "all-MiniLM-L6-v2"
    token_pooling: str = "auto"
    """auto (what the encoder was pre-trained with), mean, cls or last."""
    num_layers: int | None = None
    """Keep only the lowest layers; None keeps all."""
    dropout: float = 0.0


@dataclass(frozen=True)
class ModelConfig:
    """The model: encoder, what of it is trained, architecture, pooling, scorer."""

    architecture: Architecture = field(default_factory=lambda: Architecture.named("bi_encoder"))
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    adaptation: Adaptation = field(default_factory=lambda: Adaptation.named("lora"))
    pooling: Pooling = field(default_factory=lambda: Pooling.named("mean"))
    scorer: Scorer = field(default_factory=lambda: Scorer.named("cosine"))


@dataclass(frozen=True)
class ObjectiveConfig:
    """The training objective: ranking loss plus weighted auxiliaries [A §3]."""

    loss: Loss = field(default_factory=lambda: Loss.named("mince"))
    auxiliaries: tuple[Auxiliary, ...] = ()
    temperature: float = 0.05
    learnable_temperature: bool = False
    contrast_size: int | None = None
    """Impressions per group of a batch-coupled term; None is the global batch."""


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with warm-up, cosine decay and clipping (methods.md §4)."""

    global_batch: int = 32
    epochs: int = 1
    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    warmup_steps: int = 50
    """At most a tenth of the run is spent warming up, however short the run."""
    clip_norm: float = 2.0
    precision: str = "auto"
    """auto (bf16 autocast where it helps), bf16 or fp32."""


@dataclass(frozen=True)
class EvalConfig:
    """What is measured, on what, and how often."""

    split: str = "validation"
    """validation (cut from train), dev or test: the impressions of the final evaluation."""
    ks: tuple[int, ...] = (5, 10)
    ties: str = "expected"
    validations: int = 4
    """Validations during training, evenly spaced; what early stopping sees."""
    max_impressions: int | None = None
    """Cap on validation impressions during training; the final evaluation scores all."""
    whitening: bool = False
    """Whiten item vectors (ZCA, fitted on the training items) before they are pooled and scored."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's result."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    evaluation: EvalConfig = field(default_factory=EvalConfig)
    seed: int = 0


@dataclass(frozen=True)
class ClusterConfig:
    """Where and how a run happens; nothing here changes its result."""

    home: Path = field(default_factory=lambda: Path.home() / ".cache" / "tastelab")
    reports: Path = Path("reports")
    data_path: Path | None = None
    """Folder of the prepared data set."""
    encoder_path: str = ""
    """Folder or hub id of the encoder."""
    address: str | None = None
    """Address of a running Ray cluster; None starts Ray on this machine."""
    workers: int = 2
    gpus_per_worker: float = 0.0
    cpus_per_worker: float | None = None
    accumulation: int = 1
    """Micro-steps per optimiser step: the global batch is cut in this many parts."""
    token_budget: int = 16_384
    """Padded tokens in one pass of the encoder."""
    reuse_mb: int = 2_048
    """Memory of each worker in which the outputs of frozen layers are kept; 0 computes them anew each time."""
    glove: Path | None = None
    """Pretrained word vectors, a word and its numbers on each line, for architectures with words of their own."""


def to_dict(config: Any) -> Any:
    """Turn a configuration into plain JSON values; a component becomes `{"name": …, **parameters}`."""
    if dataclasses.is_dataclass(config):
        named = {"name": type(config).name} if isinstance(config, Component) else {}
        return named | {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, tuple | list):
        return [to_dict(value) for value in config]
    return str(config) if isinstance(config, Path) else config


def from_dict(cls: type[T], data: Mapping[str, Any]) -> T:
    """Rebuild a configuration from `to_dict`'s output; unknown fields raise `ValueError` naming the known ones."""
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(data) - known):
        what = getattr(cls, "name", "") or cls.__name__
        raise ValueError(f"{what} has no field {', '.join(unknown)}: choose among {', '.join(sorted(known)) or '–'}.")
    return cls(**{key: _from_value(hints[key], value) for key, value in data.items()})


def _from_value(hint: Any, value: Any) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _from_value(next(arg for arg in args if arg is not type(None)), value)
    if origin is tuple:
        return tuple(_from_value(args[0], item) for item in value)
    if isinstance(value, Mapping) and isinstance(hint, type) and issubclass(hint, Component):
        if "name" not in value:
            raise ValueError(f"A {hint.kind} has no name: give one of {', '.join(sorted(hint.members))}.")
        return hint.named(value["name"], **{k: v for k, v in value.items() if k != "name"})
    if isinstance(value, Mapping) and dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value)
    return Path(value) if hint is Path else value


def replace_at(config: T, values: Mapping[str, Any]) -> T:
    """Return a copy with the fields at dotted paths replaced, e.g. `{"optim.learning_rate": 1e-4}`."""
    for path, value in values.items():
        config = _replace_one(config, path.split("."), value)
    return config


def _replace_one(config: Any, path: list[str], value: Any) -> Any:
    head, *rest = path
    if isinstance(config, tuple):  # components by name: "objective.auxiliaries.uniformity.weight"
        names = [member.name for member in config]
        if head not in names:
            raise ValueError(f"There is no '{head}' among {', '.join(names) or 'no components'}.")
        return tuple((_replace_one(m, rest, value) if rest else value) if m.name == head else m for m in config)
    known = [f.name for f in dataclasses.fields(config)]
    if head not in known:
        raise ValueError(f"{type(config).__name__} has no field '{head}': choose among {', '.join(known)}.")
    new = _replace_one(getattr(config, head), rest, value) if rest else value
    return dataclasses.replace(config, **{head: new})


def value_at(config: Any, path: str) -> Any:
    """Read the field at a dotted path."""
    for name in path.split("."):
        is_tuple = isinstance(config, tuple)
        config = next(m for m in config if m.name == name) if is_tuple else getattr(config, name)
    return config


def digest(value: Any) -> str:
    """Return the first 12 hex digits of the SHA-256 of a value's canonical JSON."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def run_id(config: RunConfig, data_fingerprint: str, encoder_fingerprint: str) -> str:
    """Identify a run: the same science on the same data with the same encoder has the same id."""
    content = {"config": to_dict(config), "data": data_fingerprint, "encoder": encoder_fingerprint}
    return digest(content | {"method": METHOD_VERSION})
