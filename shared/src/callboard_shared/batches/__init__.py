"""Batches: how their lines are read, what is written of them, and how a batch looks to clients."""
