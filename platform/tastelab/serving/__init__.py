"""The trained ranker as an interactive feed."""
