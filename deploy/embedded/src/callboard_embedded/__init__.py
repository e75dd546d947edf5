"""The embedded stack: everything on one machine as one process tree."""
