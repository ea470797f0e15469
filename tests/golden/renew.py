"""Write `trajectory.json` anew: `python tests/golden/renew.py`, after a change that is meant to change results."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

if __name__ == "__main__":
    os.environ["TASTELAB_RENEW_GOLDEN"] = "1"
    test = Path(__file__).parents[1] / "unit" / "training" / "test_golden.py"
    sys.exit(pytest.main([f"{test}::test_the_trajectory_is_the_golden_one", "-q"]))
