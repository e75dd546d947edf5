"""The documentation agrees with the code, and its links lead somewhere."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [
    ROOT / "README.md",
    ROOT / "README.ko.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_generated_has_not_drifted_from_the_code(generate: ModuleType) -> None:
    for path, parts in generate.pages().items():
        text = path.read_text("utf-8")
        assert generate.filled(text, parts) == text, f"{path.name}: run make docs"


def test_a_page_without_its_marks_is_an_error(generate: ModuleType) -> None:
    with pytest.raises(ValueError, match="settings:begin"):
        generate.filled("nothing here", {"settings": "x"})


def test_every_group_of_settings_in_the_code_is_in_the_table(generate: ModuleType) -> None:
    listed = {
        f"{group.__module__}.{group.__name__}"
        for modules in generate.SETTINGS.values()
        for group in generate._groups(modules)
    }
    written = set()
    for source in [
        *ROOT.glob("shared/src/**/*.py"),
        *ROOT.glob("services/*/src/**/*.py"),
        *ROOT.glob("deploy/embedded/src/**/*.py"),
    ]:
        module = ".".join(source.with_suffix("").parts[source.parts.index("src") + 1 :])
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and any(
                isinstance(base, ast.Name) and base.id.endswith("Settings") for base in node.bases
            ):
                written.add(f"{module}.{node.name}")
    assert written - {"callboard_shared.settings.Settings"} == listed - {"callboard_shared.settings.Settings"}


def test_every_setting_says_what_it_is() -> None:
    rows = re.findall(
        r"^\| `(CALLBOARD_\w+|[A-Z_]+)` \| .* \| (.*) \|$",
        (ROOT / "docs/configuration.md").read_text("utf-8"),
        re.M,
    )
    assert len(rows) > 30
    assert [name for name, text in rows if not text.strip()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text("utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        there = page.parent / unquote(name) if name else page
        assert there.exists(), f"{page.name} points to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", there.read_text("utf-8"), re.M)
            assert anchor in {
                re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings
            }


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_the_first_page_is_short_and_names_both_commands(name: str) -> None:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    assert len(lines) <= 150
    assert any(line.startswith("make demo ") for line in lines)
    assert any(line.startswith("make run ") for line in lines)


def test_both_first_pages_show_the_same_code() -> None:
    """Sentences differ; commands, requests and answers do not (but for comments and what is printed)."""
    english, korean = (
        re.findall(r"```(\w+)\n(.*?)```", (ROOT / name).read_text("utf-8"), re.S)
        for name in ("README.md", "README.ko.md")
    )
    assert [kind for kind, _ in english] == [kind for kind, _ in korean]
    for (kind, one), (_, other) in zip(english, korean, strict=True):
        if kind == "json":
            assert one == other


@pytest.mark.parametrize("korean", sorted((ROOT / "docs").glob("*.ko.md")), ids=lambda page: page.name)
def test_a_page_in_korean_shows_the_same_code(korean: Path) -> None:
    pages = (korean, korean.with_name(korean.name.replace(".ko", "")))
    mine, other = (re.findall(r"```(\w+)\n(.*?)```", page.read_text("utf-8"), re.S) for page in pages)
    assert mine and [kind for kind, _ in mine] == [kind for kind, _ in other]
    said = re.compile(r'\s*(?:#|//) .*|"""[^"]*"""')  # comments are translated
    for (kind, one), (_, same) in zip(mine, other, strict=True):
        if kind != "text":
            assert said.sub("", one) == said.sub("", same)
