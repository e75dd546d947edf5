"""What to do when pip fails, told from what it logged. Standard library only, as bootstrap.py."""

import os
import re

AGAIN = "then run this again; what is installed stays."
CURES = (
    (
        r"No space left on device|Errno 28",
        "The disk is full (pip also unpacks into %s). Make room, %s"
        % (os.environ.get("TMPDIR", "/tmp"), AGAIN),  # nosec B108  # words for people
    ),
    (
        r"SSLError|CERTIFICATE_VERIFY_FAILED",
        "The package index's certificate is not trusted. Behind a proxy that signs its own, name its certificate:\n"
        "    PIP_CERT=/path/to/ca.pem make setup",
    ),
    (
        r"NewConnectionError|NameResolutionError|Temporary failure in name resolution|ConnectTimeout|ReadTimeout|"
        r"Connection (?:refused|reset|aborted)|Network is unreachable|ProxyError|IncompleteRead|ConnectionError",
        "The package index cannot be reached. Check the network (behind a proxy: HTTPS_PROXY; with an index of\n"
        "your own: PIP_INDEX_URL), %s" % AGAIN,
    ),
    (
        r"Requires-Python|requires a different Python",
        "A package does not support this Python. Remove .venv and use 3.11, 3.12 or 3.13:\n"
        "    make setup PYTHON=python3.11",
    ),
    (
        r"No matching distribution found",
        "The package index lacks a version that constraints.txt asks for (named above). With an index of your\n"
        "own, check that it carries it.",
    ),
    (
        r"command '.*(?:gcc|cc|clang|g\+\+)' failed|Python\.h: No such file",
        "A package has no build for this platform and needs a compiler:\n"
        "    sudo apt install build-essential python3-dev\n%s" % AGAIN,
    ),
    (
        r"Permission denied|Errno 13",
        "A file cannot be written. Was .venv made by another user? Remove it, then run this again.",
    ),
)


def cure(log, path):
    """What a person can do about it. log: what pip logged; path: where that is."""
    for pattern, advice in CURES:
        if re.search(pattern, log):
            return advice
    return "pip could not finish; its message is above and in %s. Run this again to go on from there." % path
