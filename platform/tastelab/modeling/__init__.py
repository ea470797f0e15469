"""Rankers: encoders, what of them is trained, item pooling, scorers, one file per architecture."""

from tastelab.modeling import bi_encoder, lora, pooling, scorers

__all__ = ["bi_encoder", "lora", "pooling", "scorers"]
