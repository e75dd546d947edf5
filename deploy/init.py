"""`make init`: a .env with the secrets that docker-compose.yml asks for. What stands there is never changed.

A new file is .env.example with its empty secrets filled in; in one that exists, only missing secrets are added.
Standard library only: it runs before anything is set up.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAKERS: dict[str, Callable[[], str]] = {
    "CALLBOARD_REDIS_PASSWORD": lambda: secrets.token_urlsafe(32),
    "CALLBOARD_OPERATOR_PASSWORD": lambda: secrets.token_urlsafe(32),
    "CALLBOARD_ADMIN_KEY": lambda: f"cb_composed_{secrets.token_urlsafe(32)}",
}


def filled(text: str) -> tuple[str, list[str]]:
    """The text with each secret that was missing or empty, and their names."""
    made = []
    for name, make in MAKERS.items():
        if re.search(rf"^{name}=[ \t]*\S", text, re.M):
            continue
        made.append(name)
        line = f"{name}={make()}"
        text, found = re.subn(rf"^{name}=[ \t]*$", line, text, flags=re.M)
        if not found:
            text += ("" if text.endswith("\n") or not text else "\n") + line + "\n"
    return text, made


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read (mode 0600), whole or not at all."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(
        os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
    draft.replace(path)


def main(root: Path = ROOT) -> None:
    target = root / ".env"
    known = target.exists()
    text, made = filled((target if known else root / ".env.example").read_text("utf-8"))
    if not made:
        print(".env has its secrets already; nothing was changed.")
        return
    write_private(target, text)
    print(f".env: made {', '.join(made)}." + (" The rest is as it was." if known else ""))
    print("Next: docker compose up -d --build --wait")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
