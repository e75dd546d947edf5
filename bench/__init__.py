"""What Callboard must reach, measured beside its rivals in one run on one machine: ``python -m bench``."""
