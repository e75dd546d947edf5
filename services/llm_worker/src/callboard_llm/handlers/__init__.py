"""Handlers of the LLM worker."""
