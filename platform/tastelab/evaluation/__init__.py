"""A trained model's values: one row per impression, means with intervals; baselines and submissions."""
