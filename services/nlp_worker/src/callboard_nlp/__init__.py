"""The NLP worker of Callboard."""
