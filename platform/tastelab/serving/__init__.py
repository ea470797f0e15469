"""The trained ranker as an interactive feed; the trained retriever and its index."""
