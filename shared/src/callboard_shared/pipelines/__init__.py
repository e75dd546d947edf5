"""Pipelines: how a step's input takes what other steps gave, and how a pipeline looks to clients."""
