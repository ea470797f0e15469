"""Settings of Ray that must stand before its first import."""

from __future__ import annotations

from tastelab.cluster.settings import prepare_environment

prepare_environment(local=True)
