"""The loop, the objective, the optimiser, checkpoints, and a whole run on any kind of worker."""
