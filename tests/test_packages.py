# SPDX-License-Identifier: Apache-2.0
"""What is handed out: wheel and sdist with the web pages in them, a lock file that anybody can install from, small files."""

import gzip
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ROOT / "packages"
BUILT = ROOT / "src" / "holdfirst" / "web" / "built"
LOADER_MAX, SCRIPTS_MAX, STYLES_MAX = 3_000, 55_000, 8_000


@pytest.fixture(scope="module")
def built() -> Path:
    subprocess.run([sys.executable, "packages/build.py"], cwd=ROOT, check=True)
    return BUILT


def tree(place: Path) -> Path:
    """The sources as git would have them, with what was built."""
    ours = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in ours.stdout.splitlines():
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
    shutil.copytree(BUILT, place / "src" / "holdfirst" / "web" / "built")
    return place


def build(place: Path, *kinds: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hatchling", "build", *kinds]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)


def test_wheel_and_sdist_carry_the_web_pages(built: Path, tmp_path: Path) -> None:
    place = tree(tmp_path)
    done = build(place)
    assert done.returncode == 0, done.stderr
    [wheel] = (place / "dist").glob("*.whl")
    [sdist] = (place / "dist").glob("*.tar.gz")
    wanted = {path.name for path in built.iterdir()}
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    assert {f"holdfirst/web/built/{name}" for name in wanted} <= in_wheel
    assert "holdfirst/web/templates/shell.html" in in_wheel
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {f"src/holdfirst/web/built/{name}" for name in wanted} <= names
    assert {"packages/vue3/src/index.ts", "packages/package-lock.json", "packages/build.py"} <= names
    assert not any("node_modules" in name for name in names)


def test_neither_is_made_without_them(built: Path, tmp_path: Path) -> None:
    place = tree(tmp_path)
    shutil.rmtree(place / "src" / "holdfirst" / "web" / "built")
    done = build(place)
    assert done.returncode != 0
    assert "make assets" in done.stderr


def test_the_lock_file_names_no_place_of_ours() -> None:
    lock = json.loads((PACKAGES / "package-lock.json").read_text())
    places = {
        found["resolved"]
        for found in lock["packages"].values()
        if "resolved" in found and not found.get("link")
    }
    assert [one for one in places if not one.startswith("https://registry.npmjs.org/")] == []


def test_nothing_that_was_built_is_committed() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert (
        re.findall(r"(?m)^(?:src/holdfirst/web/built/|.*node_modules/|packages/[^/]+/dist/).*", tracked) == []
    )


def packed_size(path: Path) -> int:
    return len(gzip.compress(path.read_bytes(), 9))


@pytest.fixture(scope="module")
def manifest(built: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((built / "manifest.json").read_text())
    return told


LANGUAGES = sorted(path.stem for path in (PACKAGES / "vue3" / "src" / "messages").glob("*.json"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_scripts_before_times_are_shown_stay_small(
    built: Path, manifest: dict[str, Any], language: str
) -> None:
    """In each language, by itself and in a frame: these are all of them, packed with gzip."""
    entry = manifest["src/main.ts"]
    files = [entry["file"], *(manifest[name]["file"] for name in entry["imports"])]
    files.append(manifest[f"../vue3/src/messages/{language}.json"]["file"])
    inline = ROOT / "src" / "holdfirst" / "web" / "templates" / "first_times.js"
    assert sum(packed_size(path) for path in [inline, *(built / name for name in files)]) <= SCRIPTS_MAX


def test_nothing_else_is_fetched_before_times_are_shown(manifest: dict[str, Any]) -> None:
    """What comes later: another page, the steps after a choice, the other languages."""
    later = {name for chunk in manifest.values() for name in chunk.get("dynamicImports", [])}
    assert {name for name in later if "/messages/" not in name} == {
        "src/ManagePage.vue",
        "../vue3/src/components/later_steps.ts",
    }
    assert len([name for name in later if "/messages/" in name]) == len(LANGUAGES) == 11


def test_the_loader_and_the_style_stay_small(built: Path, manifest: dict[str, Any]) -> None:
    styles = {name for chunk in manifest.values() for name in chunk.get("css", [])}
    assert packed_size(built / "embed.js") <= LOADER_MAX
    assert sum(packed_size(built / name) for name in styles) <= STYLES_MAX
