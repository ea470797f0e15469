"""tastelab: a Ray-distributed laboratory for universal recommenders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tastelab.serving.ranker import load

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import `tastelab.load` only when it is asked for, so that `import tastelab` stays light."""
    if name == "load":
        from tastelab.serving.ranker import load

        return load
    raise AttributeError(f"module 'tastelab' has no attribute '{name}'")
