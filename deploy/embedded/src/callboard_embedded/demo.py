"""`make demo`: a stack in a folder of its own, real jobs over HTTP, their results as a person reads them.

One job of every type the gateway knows, by its own example; then a few short stories. A new job type joins by
being declared.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from callboard_client import Callboard, CallboardError
from callboard_embedded.folder import Folder
from callboard_embedded.logs import Log
from callboard_embedded.stack import Stack, StackFailed
from callboard_embedded.stories import STORIES, Problems, every_type

Story = Callable[[Callboard, Console, Problems], None]


def demo() -> int:
    """Runs it all. Returns 0 if every job succeeded, else 1."""
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 110)
    signal.signal(signal.SIGTERM, _as_interrupt)
    began = time.monotonic()
    problems: Problems = []
    with _temporary_folder() as home:
        console.print("[bold]Callboard demo[/]: a stack of its own, in a temporary folder on a free port\n")
        stack = Stack(home)
        try:
            stack.start()
            console.print(f"  everything is up at {stack.url} after {time.monotonic() - began:.1f} s\n")
            problems += _tell(stack, console)
        except (StackFailed, CallboardError, OSError) as error:
            problems.append(str(error))
            _show_logs(home, console)
        except KeyboardInterrupt:
            problems.append("interrupted")
        finally:
            code = stack.stop()
        if code:
            problems.append(f"the stack ended with code {code}")
    return _verdict(problems, console, time.monotonic() - began)


def _tell(stack: Stack, console: Console) -> Problems:
    problems: Problems = []
    with Callboard(stack.url, stack.key) as callboard:
        for story in (every_type, *STORIES):
            story(callboard, console, problems)
            console.print()
    return problems


def _verdict(problems: Problems, console: Console, seconds: float) -> int:
    if problems:
        console.print("\n[bold red]The demo failed:[/]")
        for problem in problems:
            console.print(f"  {problem}", markup=False)
        return 1
    console.print(
        f"\n[bold green]All jobs succeeded[/], and nothing is left running ({seconds:.0f} s in all)."
    )
    console.print(
        "Next: [bold]make run[/] keeps a stack running and prints how to sign in and a request to paste."
    )
    return 0


def _show_logs(home: Path, console: Console) -> None:
    for path in sorted(Folder(home).logs.glob("*.log")):
        for line in Log(path).last_lines(5):
            console.print(f"  {path.stem:<10} {line}", markup=False, style="dim")


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="callboard-demo-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(demo())
