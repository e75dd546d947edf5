"""Health of a worker's container: does it still take work? Exit code 0 if so; else it says why not.

A worker writes CALLBOARD_HEALTH_FILE whenever the ledger has taken its word that it is there: whether its models are
loaded, and whether it answered when it called itself through the broker, which a consumer that lost its connection
does not. Reading that takes hundredths of a second; to ask ledger and broker from here took a second of processor time
each, on a machine that may be busy with a start. Only the standard library: runs with `python -I -S`.
"""

import json
import os
import sys
import time

FRESH_S = 45.0
"""A worker writes every two seconds; on a machine that is at its limit, some beats are late."""


def trouble(path: str, now: float) -> str:
    """What is wrong with the worker that writes this file; empty if nothing is. ``now``: seconds since 1970."""
    try:
        with open(path, "rb") as file:
            age_s, told = now - os.fstat(file.fileno()).st_mtime, json.load(file)
    except FileNotFoundError:
        return "no worker of this container is online"
    if age_s > FRESH_S:
        return f"the worker has reached no ledger for {age_s:.0f} s"
    if told["note"].startswith("loading"):
        return "its models are loading"
    if told["bells"] != "ok":
        return "it does not hear what is sent through the broker"
    return ""


if __name__ == "__main__":
    sys.exit(trouble(os.environ["CALLBOARD_HEALTH_FILE"], time.time()) or None)
