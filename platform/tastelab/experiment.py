"""An experiment: a question stated as data. What is fixed, what varies or is searched, with which seeds, at which size.

A search space maps dotted paths of `RunConfig` to `Choice`, `Float` or `Given`; the same space runs under Optuna and
names its values in tables.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from tastelab.config import RunConfig, digest, replace_at, to_dict

ALL_DOMAINS = "All domains"
ALL_BUT = "All but "
SIZES = ("smoke", "default", "paper")
IMPORTED_AS = "_tastelab_experiment_"
"""How the module names begin under which experiment files are imported for what they declare."""


class Suggest(Protocol):
    """The part of an Optuna trial that a space draws from."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Draw one of several."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Draw a number."""


@dataclass(frozen=True)
class Choice:
    """One of several values, each under the label that tables print."""

    values: Mapping[str, Any]

    @classmethod
    def of(cls, *values: Any) -> Choice:
        """Label each value by itself."""
        return cls({str(value): value for value in values})

    def suggest(self, trial: Suggest, path: str, labels: dict[str, str]) -> Any:
        """Draw a value and note its label."""
        label = labels[path.split("[")[0]] = trial.suggest_categorical(path, list(self.values))
        return self.values[label]


@dataclass(frozen=True)
class Variants(Choice):
    """One of several sets of overrides, `{label: {dotted path: value}}`: what a row of a table changes of the base."""


@dataclass(frozen=True)
class TrainedOn(Variants):
    """Rows that the domains of the data make: trained on each alone, on all, on all but one.

    They are known once the data are (see `Experiment.on`); until then one row stands for all.
    """

    values: Mapping[str, Any] = field(default_factory=lambda: {ALL_DOMAINS: {}})

    def on(self, domains: Sequence[str]) -> Variants:
        """Return the rows for given domains."""
        alone: dict[str, dict[str, Any]] = {name: {"data.domains": (name,)} for name in domains}
        others = {name: tuple(other for other in domains if other != name) for name in domains}
        all_but = {f"{ALL_BUT}{name}": {"data.domains": rest} for name, rest in others.items()}
        return Variants({**alone, ALL_DOMAINS: {}, **(all_but if len(domains) > 2 else {})})


@dataclass(frozen=True)
class Float:
    """A number between two bounds, uniform or log-uniform."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        """Refuse empty and impossible ranges."""
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"The range {self.low} … {self.high} is empty or not positive: give low < high.")

    def suggest(self, trial: Suggest, path: str, labels: dict[str, str]) -> float:
        """Draw a number."""
        value = trial.suggest_float(path, self.low, self.high, log=self.log)
        labels[path.split("[")[0]] = f"{value:.3g}"
        return value


@dataclass(frozen=True)
class Given:
    """A space that depends on the label drawn before at another path: `{label: space}`, else `otherwise`.

    `NOTHING` as a case leaves the configuration as it is, where a field does not exist for some label.

    Each case is a parameter of its own to the sampler, so that ranges never mix.
    """

    path: str
    cases: Mapping[str, Choice | Float]
    otherwise: Choice | Float

    def suggest(self, trial: Suggest, path: str, labels: dict[str, str]) -> Any:
        """Draw from the case that applies."""
        label = labels[self.path]
        case = label if label in self.cases else "otherwise"
        return self.cases.get(label, self.otherwise).suggest(trial, f"{path}[{case}]", labels)

    def case(self, label: str) -> Choice | Float:
        """Return the space that applies under a label."""
        return self.cases.get(label, self.otherwise)


NOTHING = Variants({"–": {}})
"""A space of one value that changes nothing."""

Space = Choice | Float | Given


@dataclass(frozen=True)
class Size:
    """What an experiment changes to run at one size."""

    overrides: Mapping[str, Any] = field(default_factory=dict)
    dataset: str = "synthetic"
    encoder: str = "all-MiniLM-L6-v2"
    trials: int = 12
    seeds: tuple[int, ...] = (0, 1)
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Further overrides of single rows, such as fewer impressions for a slow architecture."""
    only: tuple[str, ...] | None = None
    """Labels of the rows that run at this size; None runs all."""
    workers: int | None = None
    """DDP workers of a run, unless the command line says; None takes the default."""
    cpus_per_worker: float | None = None
    """CPUs that a worker reserves, unless the command line says; small shares let more runs go side by side."""


@dataclass(frozen=True)
class Point:
    """One configuration of an experiment, with the labels of what varies."""

    config: RunConfig
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Experiment:
    """A question, declaratively (see the module's docstring)."""

    name: str
    question: str
    base: RunConfig
    group: str
    """Path whose labels are the rows of the table; any name where `rows` are variants."""
    rows: Choice
    """Values at `group`, or variants, in the order of the table."""
    search: Mapping[str, Space] = field(default_factory=dict)
    """Searched by Optuna beside `group`; empty: a grid over the rows alone."""
    even: bool = False
    """Whether every row gets as many trials of the search; otherwise the sampler turns to the rows that do well."""
    sizes: Mapping[str, Size] = field(default_factory=lambda: {"default": Size()})
    baselines: tuple[str, ...] = ("random", "popularity", "newest", "tfidf", "frozen")
    probes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Conditions under which every trained row is measured once more: label → overrides of what it reads and where."""
    probe_domains: bool = False
    """Measure every trained row on each domain of the data, too."""

    @property
    def space(self) -> dict[str, Space]:
        """The whole search space, the group first so that others may depend on it."""
        return {self.group: self.rows, **self.search}

    def size(self, name: str) -> Size:
        """Return a size by name."""
        if name not in self.sizes:
            raise ValueError(f"{self.name} has no size '{name}': choose {', '.join(self.sizes)}.")
        return self.sizes[name]

    def based(self, size: Size, dataset: str, encoder: str) -> RunConfig:
        """Return the base configuration at a size, on a data set, with an encoder."""
        names = {"data.dataset": dataset, "model.encoder.name": encoder}
        return replace_at(self.base, {**size.overrides, **names})

    def at(self, size: Size) -> Experiment:
        """Return the experiment with the rows that run at a size, its overrides of single rows included."""
        if isinstance(self.rows, TrainedOn):
            return self
        labels = self.rows.values if size.only is None else size.only
        if unknown := [label for label in (*labels, *size.rows) if label not in self.rows.values]:
            raise ValueError(f"{self.name} has no row '{unknown[0]}': choose among {', '.join(self.rows.values)}.")
        if not isinstance(self.rows, Variants):
            if size.rows:
                raise ValueError(f"{self.name} cannot override single rows of a Choice: make its rows Variants.")
            return replace(self, rows=Choice({label: self.rows.values[label] for label in labels}))
        return replace(self, rows=Variants({n: {**self.rows.values[n], **size.rows.get(n, {})} for n in labels}))

    def on(self, domains: Sequence[str]) -> Experiment:
        """Return the experiment with the rows and probes that the domains of the data make.

        Raises:
            ValueError: it is about domains, and there is one.
        """
        if not (self.probe_domains or isinstance(self.rows, TrainedOn)):
            return self
        if len(domains) < 2:
            raise ValueError(
                f"{self.name} compares domains, and the data have one, {', '.join(domains) or 'of no name'}: join "
                "several data sets with --data a,b or build a mix of several communities."
            )
        rows = self.rows.on(domains) if isinstance(self.rows, TrainedOn) else self.rows
        each = {name: {"evaluation.domains": (name,)} for name in domains} if self.probe_domains else {}
        return replace(self, rows=rows, probes={**self.probes, **each})

    def draw(self, trial: Suggest, base: RunConfig) -> Point:
        """Draw one configuration of the search."""
        labels: dict[str, str] = {}
        values: dict[str, Any] = {}
        for path, space in self.space.items():
            value: Any = space.suggest(trial, path, labels)
            values.update(value if isinstance(value, Mapping) else {path: value})  # variants are overrides themselves
        return Point(replace_at(base, values), labels)

    def row(self, label: str, base: RunConfig) -> Point:
        """Return the configuration of a row as it stands, without any search."""
        value = self.rows.values[label]
        values = value if isinstance(self.rows, Variants) else {self.group: value}
        return Point(replace_at(base, values), {self.group: label})

    def grid(self, base: RunConfig) -> Iterator[Point]:
        """Iterate over the rows of an experiment that searches nothing."""
        for label in self.rows.values:
            yield self.row(label, base)

    def study_name(self, base: RunConfig, size: str, fingerprints: tuple[str, str]) -> str:
        """Name the search: another space, base, size, data set or encoder is another study."""
        space = {path: _describe(value) for path, value in self.space.items()}
        return f"{self.name}-{size}-{digest([to_dict(base), space, list(fingerprints)])}"


def seeded(points: list[Point], seeds: tuple[int, ...]) -> list[Point]:
    """Repeat points over seeds, seed by seed, so that an interrupted table has whole rows of the first seed."""
    return [Point(replace(point.config, seed=seed), point.labels) for seed, point in itertools.product(seeds, points)]


def _describe(space: Space) -> Any:
    if isinstance(space, Variants):
        return {label: {path: to_dict(v) for path, v in values.items()} for label, values in space.values.items()}
    if isinstance(space, Choice):
        return {label: to_dict(value) for label, value in space.values.items()}
    if isinstance(space, Float):
        return [space.low, space.high, space.log]
    cases = {label: _describe(case) for label, case in space.cases.items()}
    return [space.path, cases, _describe(space.otherwise)]
