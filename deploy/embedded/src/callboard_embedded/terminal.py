"""What the supervisor says to the person in front of it: a line a fact, plain text, never a secret."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def say(member: str, text: str) -> None:
    """`  nlp        ready after 4.1 s`"""
    line(f"  {member:<10} {text}")


def line(text: str = "") -> None:
    try:
        print(text, flush=True)
    except OSError:  # the terminal is gone (closed window, broken pipe); the stack is not to fall with it
        sys.stdout = sys.stderr = Path("/dev/null").open("w")  # noqa: SIM115


def progress(member: str, text: str) -> None:
    """As `say`, but a terminal overwrites it with what comes next."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        print(f"  {member:<10} {text}"[: width - 1].ljust(width - 1), end="\r", flush=True)


def welcome(url: str, home: Path, link: str, missing: list[str]) -> None:
    """Where the stack is, how to sign in, and a request to paste."""
    key_file = _short(home / "api-key")
    line()
    line(f"Callboard runs at {url}   (Ctrl-C ends it; the data stays in {_short(home)})")
    if missing:
        line(f"  not ready  {', '.join(missing)}: see {_short(home / 'logs')}")
    if link:
        line(f"  console    {link}   (signs in once, within 10 minutes; again: make sign-in)")
    line(f"  API key    {key_file}")
    line(f"  API docs   {url}/docs")
    line(f"  logs       {_short(home / 'logs')}")
    line()
    line("Try it:")
    line(f"  curl -s {url}/v1/jobs -H 'Prefer: wait=30' -H 'Content-Type: application/json' \\")
    line(f"""    -H "Authorization: Bearer $(cat {key_file})" \\""")
    line(
        """    -d '{"type": "nlp.similarity", "input": {"pairs": [["I lost my card", "My card is gone"]]}}'"""
    )
    line()


def _short(path: Path) -> str:
    """Relative to the working folder where that is shorter, as a person would type it."""
    try:
        text = str(path.relative_to(Path.cwd()))
    except ValueError:
        text = str(path)
    return f"'{text}'" if " " in text else text
