"""The component that the documentation builds is built and tested as it stands there."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from tastelab.config import Loss

PAGE = Path(__file__).parents[3] / "docs" / "adding_a_component.md"


def test_the_worked_example_passes_its_own_test(monkeypatch: pytest.MonkeyPatch) -> None:
    component, test, usage = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.setattr(Loss, "members", dict(Loss.members))
    module = types.ModuleType("documented_component")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(component, module.__dict__)
    checks: dict[str, object] = {"__name__": "documented_test"}
    exec(test, checks)
    names = [name for name in checks if name.startswith("test_")]
    assert len(names) == 2
    for name in names:
        check = checks[name]
        assert callable(check)
        check()
    exec(usage, {})
