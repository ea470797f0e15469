"""Ranking losses and auxiliary terms of one impression's scores or one group's vectors."""

from tastelab.losses import auxiliary, ranking

__all__ = ["auxiliary", "ranking"]
