"""Components with a registry per kind, and configurations as plain JSON values and back."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

LATER: Mapping[str, Any] = {"later": True}
"""Metadata of a field that was added after runs had been recorded: left out of the canonical form where it has its
default, so that what was run before keeps its run id (docs/decisions/0011)."""

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


def to_dict(config: Any) -> Any:
    """Turn a configuration into plain JSON values; a component becomes `{"name": …, **parameters}`."""
    if dataclasses.is_dataclass(config):
        named = {"name": type(config).name} if isinstance(config, Component) else {}
        kept = (f for f in dataclasses.fields(config) if not _is_absent(f, getattr(config, f.name)))
        return named | {f.name: to_dict(getattr(config, f.name)) for f in kept}
    if isinstance(config, tuple | list):
        return [to_dict(value) for value in config]
    return str(config) if isinstance(config, Path) else config


def _is_absent(field: dataclasses.Field[Any], value: Any) -> bool:
    return bool(field.metadata.get("later")) and value == field.default


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
