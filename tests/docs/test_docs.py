# SPDX-License-Identifier: Apache-2.0
"""The documents say what the code says: trees, words, codes, settings, links, examples.

Each comparison is a function of text, so that it can be shown to fail.
"""

import ast
import json
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfirst.cli import app
from holdfirst.refusal import Code
from holdfirst.settings import PREFIX, Settings
from holdfirst.web.health import refusals_page
from holdfirst.web.problems import MEANINGS, type_url

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "holdfirst"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
# Pages that are linked to and not written yet.
TO_COME: set[str] = set()
NOUNS = ("availability", "reservation", "payment", "calendar")


def differences(said: set[str], true: set[str]) -> list[str]:
    return [f"not said: {one}" for one in sorted(true - said)] + [
        f"not so: {one}" for one in sorted(said - true)
    ]


# docs/architecture.md


def tree_said(page: str) -> list[str]:
    """The entries of the first block that begins with `src/holdfirst/`; a folder ends with a slash."""
    block = re.search(r"^```\nsrc/holdfirst/\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert block is not None, "no tree on the page"
    entries: list[str] = []
    folder = ""
    for line in block[1].splitlines():
        indent, name = len(line) - len(line.lstrip()), line.split()[0]
        assert indent in (2, 4), line
        assert len(line.split()) > 1, f"{name} is named and not told"
        if indent == 2:
            folder = name if name.endswith("/") else ""
            entries.append(name)
        else:
            assert folder, f"{name} is in no folder"
            entries.append(f"{folder}{name}")
    return entries


# Folders that running and building make.
MADE = ("__pycache__", "built")


def tree_of(root: Path) -> set[str]:
    """Files and folders, two levels deep; a folder's own `__init__.py` goes without saying."""

    def shown(folder: Path) -> list[Path]:
        return [path for path in sorted(folder.iterdir()) if path.name not in MADE]

    entries = set()
    for path in shown(root):
        entries.add(path.name + "/" * path.is_dir())
        if path.is_dir():
            entries |= {
                f"{path.name}/{inner.name}" + "/" * inner.is_dir()
                for inner in shown(path)
                if inner.name != "__init__.py"
            }
    return entries


def test_the_tree_is_as_the_page_has_it() -> None:
    said = tree_said((DOCS / "architecture.md").read_text())
    assert len(said) == len(set(said)), "something is named twice"
    assert differences(set(said), tree_of(SOURCE)) == []


def test_the_import_rule_is_as_the_page_has_it() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers")
    block = "\n".join(layers).replace("holdfirst.", "")
    assert f"```\n{block}\n```" in (DOCS / "architecture.md").read_text()


# docs/glossary.md

# Classes that have no line of their own: the values that one entry names together.
GROUPED = {
    "answer of a provider": {
        "Opened",
        "Done",
        "Accepted",
        "NotOpen",
        "Refused",
        "Unknown",
        "BadNotification",
    },
}


def words_said(page: str) -> set[str]:
    """The first cell of every row of a table, in bold: `**held until**`."""
    return {
        word
        for line in page.splitlines()
        if line.startswith("| ")
        for word in re.findall(r"\*\*(.+?)\*\*", line.split("|")[1])
    }


def classes_said(page: str) -> set[str]:
    """`ClassName` in a row of a table, wherever in it."""
    rows = "\n".join(line for line in page.splitlines() if line.startswith("| "))
    return set(re.findall(r"`([A-Z][A-Za-z]+)`", rows))


def public_classes(text: str) -> set[str]:
    return {
        node.name
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }


def test_every_class_of_the_nouns_has_its_word() -> None:
    page = (DOCS / "glossary.md").read_text()
    classes = {
        name
        for noun in NOUNS
        for path in (SOURCE / noun).glob("*.py")
        for name in public_classes(path.read_text())
    }
    grouped = set().union(*GROUPED.values())
    assert set(GROUPED) <= words_said(page)
    assert grouped <= classes, "no longer there: take it out of the table"
    assert differences(classes_said(page) | grouped, classes) == []


# docs/refusals.md


def refusals_said(page: str) -> dict[str, int]:
    """Each heading, and the status in the line below it."""
    sections = re.findall(r"^## (\S+)\n\n(.*)$", page, re.MULTILINE)
    assert len(sections) == len(re.findall(r"^## ", page, re.MULTILINE))
    statuses = {}
    for code, first_line in sections:
        status = re.match(r"HTTP (\d{3})\. \S", first_line)
        assert status is not None, f"{code} does not begin with its status"
        assert code not in statuses, f"{code} stands there twice"
        statuses[code] = int(status[1])
    return statuses


def test_every_refusal_has_its_section_and_status() -> None:
    said = refusals_said((DOCS / "refusals.md").read_text())
    assert differences(set(said), {code.value for code in Code}) == []
    assert said == {code.value: meaning.status for code, meaning in MEANINGS.items()}


async def test_a_problem_leads_to_its_code() -> None:
    """What `type` ends with is a heading here, and a row of the page that the server shows."""
    headings = anchors_of((DOCS / "refusals.md").read_text())
    call: Any = SimpleNamespace(world=SimpleNamespace(public_url="https://example.org"))
    page = (await refusals_page(call)).content.decode()
    for code in Code:
        address, _, anchor = type_url("https://example.org", code).partition("#")
        assert address == "https://example.org/docs/refusals"
        assert anchor in headings
        assert f'id="{anchor}"' in page


# docs/settings.md


def settings_said(page: str) -> dict[str, str]:
    return dict(re.findall(r"^\| `(HOLDFIRST_\w+)` \| `?([^|`]+?)`? \|", page, re.MULTILINE))


def as_said(default: Any) -> str:
    match default:
        case None:
            return "none"
        case "":
            return "empty"
        case bool():
            return str(default).lower()
        case _:
            return str(default)


def test_every_setting_is_there_with_its_default() -> None:
    true = {PREFIX + name.upper(): as_said(field.default) for name, field in Settings.model_fields.items()}
    assert settings_said((DOCS / "settings.md").read_text()) == true


# docs/payments.md


def test_every_reason_for_a_human_is_told() -> None:
    section = (DOCS / "payments.md").read_text().split("## When a human is needed\n")[1].split("\n## ")[0]
    said = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert differences(said, reasons_for_a_human()) == []


def reasons_for_a_human() -> set[str]:
    text = "\n".join(path.read_text() for path in SOURCE.rglob("*.py"))
    return set(re.findall(r'needs_human_code="(\w+)"', text)) | set(
        re.findall(r'tell_a_human,\s*[\w.]+,\s*"(\w+)"', text)
    )


# Any page


def links_of(page: str) -> list[str]:
    """Relative links, outside of code."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", page, flags=re.DOTALL)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", prose) if not re.match(r"[a-z]+:", link)]


def anchors_of(page: str) -> set[str]:
    """As GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(page: str, at: Path) -> list[str]:
    dead = []
    for link in links_of(page):
        path, _, anchor = link.partition("#")
        target = (at.parent / path).resolve() if path else at
        if not target.exists() or (anchor and anchor not in anchors_of(target.read_text())):
            dead.append(link)
    return dead


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    dead = [link for link in dead_links(path.read_text(), path) if link.partition("#")[0] not in TO_COME]
    assert dead == []


def test_what_is_to_come_has_not_come() -> None:
    assert [page for page in TO_COME if (ROOT / page).exists()] == [], "take it out of the table"


def unreadable_examples(page: str) -> list[str]:
    wrong = []
    for block in re.findall(r"^```json\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        try:
            json.loads(block)
        except ValueError as error:
            wrong.append(f"{error}: {block[:60]}")
    return wrong


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_json_examples_are_json(path: Path) -> None:
    assert unreadable_examples(path.read_text()) == []


def commands_said(page: str) -> set[str]:
    """`make x` and `holdfirst x [y]` in the code of a page."""
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", page, re.DOTALL))
    found = re.findall(
        r"(?:^|[\s`/])(make|holdfirst) +([a-z][a-z-]*)(?: +([a-z][a-z-]*))?(?=[\s`]|$)", code, re.MULTILINE
    )
    return {f"make {first}" if tool == "make" else _command(first, second) for tool, first, second in found}


GROUPS = ("accounts", "keys")


def _command(first: str, second: str) -> str:
    return f"holdfirst {first} {second}" if first in GROUPS and second else f"holdfirst {first}"


def commands_there() -> set[str]:
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    names = {name for name in app if not name.startswith("-")}
    inner = {f"{group} {name}" for group in GROUPS for name in app[group] if not name.startswith("-")}
    return {f"make {target}" for target in targets} | {f"holdfirst {name}" for name in names | inner}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_exist(path: Path) -> None:
    page = path.read_text()
    listening = {"holdfirst listening", "holdfirst worker"}  # the line that `serve` prints is no command
    assert commands_said(page) - commands_there() - listening == set()


# The comparisons can fail


def test_a_tree_that_is_wrong_is_found(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "app.py").touch()
    (tmp_path / "web" / "__init__.py").touch()
    (tmp_path / "cli.py").touch()
    page = "```\nsrc/holdfirst/\n  web/   HTTP\n    gone.py   was here\n  cli.py   the command line\n```\n"
    assert differences(set(tree_said(page)), tree_of(tmp_path)) == [
        "not said: web/app.py",
        "not so: web/gone.py",
    ]


def test_what_is_said_wrongly_is_found(tmp_path: Path) -> None:
    assert refusals_said("## busy\n\nHTTP 500. Too much.\n") != {"busy": 503}
    assert settings_said("| `HOLDFIRST_SANDBOX` | `true` | x |\n") == {"HOLDFIRST_SANDBOX": "true"}
    assert classes_said("| **slot** | what `Slot` is | |\n`Other`\n") == {"Slot"}
    assert public_classes("class A: ...\nclass _B: ...\n") == {"A"}
    at = tmp_path / "page.md"
    at.write_text("# One word\n")
    assert dead_links("[a](nowhere.md) [b](#one-word) [c](#two) [d](https://example.org)", at) == [
        "nowhere.md",
        "#two",
    ]
    assert unreadable_examples("```json\n{'a': 1}\n```\n")
    assert not unreadable_examples('```json\n{"a": 1}\n```\n')
    assert commands_said("run `make nothing`, then\n```\n.venv/bin/holdfirst keys forge --x\n```") == {
        "make nothing",
        "holdfirst keys forge",
    }
    assert {"make test", "holdfirst serve", "holdfirst keys create"} <= commands_there()
