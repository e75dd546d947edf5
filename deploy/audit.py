"""`make audit`: advisories on what is installed (pip-audit), flawed code (bandit), secrets in sources (detect-secrets).

Each prints one line; findings follow it. What could not be looked up says `not checked: why`, and is no pass: with
`--strict` it fails as a finding does. `--accept` takes the secrets that are found now for none, after somebody looked.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CODE = ("shared/src", "services", "client/src", "deploy", "docs")
"""What runs where it is installed; tests and bench run on a developer's machine, with addresses and keys made up."""
BASELINE = ROOT / ".secrets.baseline"
NOT_OURS = r"(^|/)vendor/|\.lock$|constraints\.txt$|\.secrets\.baseline$|\.(png|jpg|mp4|zip|woff2|gif|svg)$"
LOOKUP_S = 240


@dataclass(frozen=True, slots=True)
class Verdict:
    """``outcome``: passed, FOUND or not checked. ``findings``: one line each."""

    outcome: str
    said: str
    findings: Sequence[str] = ()


def dependencies() -> Verdict:
    """Advisories on every package that constraints.txt pins, asked of the package index."""
    command = ["pip_audit", "-r", "constraints.txt", "--no-deps", "--disable-pip", "-f", "json", "--timeout", "10",
               "--progress-spinner", "off"]  # fmt: skip
    try:
        done = _run(command, LOOKUP_S)
    except subprocess.TimeoutExpired:
        return Verdict("not checked", f"no answer about advisories within {LOOKUP_S} s")
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        reason = (done.stderr.strip().splitlines() or [f"pip-audit ended with {done.returncode}"])[-1]
        return Verdict("not checked", f"the index tells no advisories ({reason[:160]})")
    return of_report(report)


def of_report(report: dict[str, Any]) -> Verdict:
    """pip-audit ends with 0 also when the index knows none of the packages: count what was really looked up."""
    packages = report["dependencies"]
    skipped = [one for one in packages if "skip_reason" in one]
    found = [
        f"{one['name']} {one['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version'}"
        for one in packages
        for flaw in one.get("vulns", ())
    ]
    looked_up = len(packages) - len(skipped)
    if found:
        return Verdict("FOUND", f"{len(found)} advisories on {looked_up} packages", found)
    if skipped or not packages:
        return Verdict("not checked", f"of {len(packages)} packages the index told of {looked_up}")
    return Verdict("passed", f"no advisory on {looked_up} packages")


def code() -> Verdict:
    """What bandit finds; pyproject.toml says which of its rules are left out, and why."""
    done = _run(["bandit", "-c", "pyproject.toml", "-q", "-f", "json", "-r", *CODE])
    report = json.loads(done.stdout)
    errors = [f"{one['filename']}: {one['reason']}" for one in report["errors"]]
    found = [
        f"{one['filename']}:{one['line_number']}: {one['test_id']} {one['issue_text']}"
        for one in report["results"]
    ]
    return _of(found + errors, f"{report['metrics']['_totals']['loc']} lines")


def secrets(*, accept: bool = False) -> Verdict:
    """What looks like a secret in a file of ours and is not in .secrets.baseline, where a person put it."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    given = [name for name in files if name and (ROOT / name).is_file()]
    done = _run(["detect_secrets", "scan", "--no-verify", "--exclude-files", NOT_OURS, *given])
    report = json.loads(done.stdout)
    if accept:
        report.pop("generated_at")
        BASELINE.write_text(json.dumps(report, indent=1) + "\n")
    known = set(_marks(json.loads(BASELINE.read_text())))
    found = [
        f"{name}:{line}: {kind}" for (name, kind, digest), line in _marks(report).items()
        if (name, kind, digest) not in known
    ]  # fmt: skip
    return _of(found, f"{len(given)} files")


def _marks(report: dict[str, Any]) -> dict[tuple[str, str, str], int]:
    """What was found, by file, kind and hash, with its line: a line moves, and that makes no new secret."""
    return {
        (name, one["type"], one["hashed_secret"]): one.get("line_number", 0)
        for name, ones in report["results"].items()
        for one in ones
    }


def _of(found: Sequence[str], looked_at: str) -> Verdict:
    if found:
        return Verdict("FOUND", f"{len(found)} in {looked_at}", found)
    return Verdict("passed", f"nothing in {looked_at}")


def _run(module_and_arguments: Sequence[str], seconds: float = 300) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *module_and_arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL
    )  # fmt: skip


def verdicts(accept: bool) -> Iterator[tuple[str, Verdict]]:
    looks: dict[str, Callable[[], Verdict]] = {
        "dependencies": dependencies,
        "code": code,
        "secrets": lambda: secrets(accept=accept),
    }
    for name, look in looks.items():
        yield name, look()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make audit", description=__doc__)
    parser.add_argument("--strict", action="store_true", help="what could not be checked fails too")
    parser.add_argument("--accept", action="store_true", help="take the secrets found now for none")
    asked = parser.parse_args()
    bad = {"FOUND", "not checked"} if asked.strict else {"FOUND"}
    outcomes = []
    for name, verdict in verdicts(asked.accept):
        print(f"{name:<13} {verdict.outcome}: {verdict.said}", flush=True)
        for finding in verdict.findings:
            print(f"    {finding}")
        outcomes.append(verdict.outcome)
    return 1 if bad & set(outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
