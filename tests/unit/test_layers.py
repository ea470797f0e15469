"""The order of the layers, read from the source: what a module imports, at any depth of its code.

Imports inside functions and under `TYPE_CHECKING` count as well: a layer that needs another one only sometimes needs
it all the same. The registries of `config` name modules by string, which is how a lower layer finds a higher one
without importing it.
"""

from __future__ import annotations

import ast
import platform
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "platform" / "tastelab"
MAX_LINES = 300

ORDER = (
    {"config"},
    {"schema"},
    {"metrics", "losses", "data", "modeling"},
    {"evaluation"},
    {"retrieval"},
    {"training"},
    {"experiment"},
    {"presets"},
    {"results"},
    {"cluster"},
    {"launch", "serving"},
    {"cli"},
)
"""Each member imports only itself and what stands before it, not its neighbours in the same place."""
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
PART_OF = dict.fromkeys(
    (
        "stage",
        "plan",
        "conduct",
        "progress",
        "checks",
        "compare",
        "cost",
        "probes",
        "untrained",
        "untrained_retrieval",
        "checks_retrieval",
    ),
    "launch",
)
"""The command line of an experiment and the work behind it, one layer in several files."""
ROOTLESS = {"", "__version__"}
"""Names of the package itself; its `__init__` hands out its public names lazily, so it may reach every layer."""

WITHOUT_RAY = {"losses", "modeling", "metrics"}
NUMPY_ONLY = {"metrics"}
STANDARD_AND_NUMPY = {"numpy", "tastelab"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    """Dotted name of a source file, e.g. `tastelab.data.mind`."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer(name: str) -> str:
    """Name of the layer that a dotted module name belongs to; "" for the package itself."""
    parts = name.split(".")
    name = parts[1] if len(parts) > 1 else ""
    return PART_OF.get(name, name)


def imports(source: str, name: str, is_package: bool) -> set[str]:
    """Return every dotted name that the source imports, `from a import b` as `a.b`, relative ones resolved."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve(node, name, is_package)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return found


def resolve(node: ast.ImportFrom, name: str, is_package: bool) -> str:
    """Return the absolute module that a `from … import` names."""
    if not node.level:
        return node.module or ""
    parts = name.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, node.module] if node.module else base)


def imports_of(path: Path) -> set[str]:
    return imports(path.read_text(), module_name(path), path.name == "__init__.py")


def under(names: set[str], *packages: str) -> set[str]:
    """Those of the dotted names that are one of the packages or lie in it."""
    return {name for name in names if any(name == p or name.startswith(f"{p}.") for p in packages)}


def relative(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def test_imports_are_found_wherever_they_stand() -> None:
    source = "\n".join(
        [
            "import ray.train as t",
            "from tastelab import cli",
            "from . import tables",
            "from ..losses import ranking",
            "def f():",
            "    from tastelab.cluster.session import start",
            "if TYPE_CHECKING:",
            "    import polars",
        ]
    )
    assert imports(source, "tastelab.data.mind", is_package=False) == {
        "ray.train",
        "tastelab.cli",
        "tastelab.data.tables",
        "tastelab.losses.ranking",
        "tastelab.cluster.session.start",
        "polars",
    }
    assert "tastelab.data.tables" in imports("from . import tables", "tastelab.data", is_package=True)


def test_every_module_has_a_layer() -> None:
    names = {layer(module_name(path)) for path in MODULES}
    assert names - ROOTLESS <= set(RANK), "a new top-level module must be given its place in ORDER"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_layer_imports_only_what_stands_before_it(path: Path) -> None:
    own = layer(module_name(path))
    if own in ROOTLESS:
        return
    reached = {name: layer(name) for name in under(imports_of(path), "tastelab")}
    below = ROOTLESS | {own} | {name for name, rank in RANK.items() if rank < RANK.get(own, 0)}
    wrong = {name for name, target in reached.items() if target not in below}
    assert not wrong, f"{own} stands before what it imports"


@pytest.mark.parametrize("path", [p for p in MODULES if layer(module_name(p)) in WITHOUT_RAY], ids=relative)
def test_the_mathematics_knows_no_ray(path: Path) -> None:
    assert not under(imports_of(path), "ray")


@pytest.mark.parametrize("path", [p for p in MODULES if layer(module_name(p)) in NUMPY_ONLY], ids=relative)
def test_metrics_need_numpy_alone(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports_of(path)}
    assert roots <= STANDARD_AND_NUMPY | set(sys.stdlib_module_names)
    assert under(imports_of(path), "tastelab") == under(imports_of(path), "tastelab.metrics", "tastelab.config")


@pytest.mark.parametrize("path", [p for p in MODULES if layer(module_name(p)) != "cluster"], ids=relative)
def test_ray_train_and_tune_live_under_cluster(path: Path) -> None:
    assert not under(imports_of(path), "ray.train", "ray.tune")


def test_no_source_file_is_long() -> None:
    lengths = {relative(path): len(path.read_text().splitlines()) for path in MODULES}
    assert not {name: n for name, n in lengths.items() if n > MAX_LINES}


def test_the_source_root_is_no_package() -> None:
    """An `__init__.py` there would hide the standard library's `platform`."""
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert callable(platform.python_version)
