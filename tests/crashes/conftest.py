# SPDX-License-Identifier: Apache-2.0
"""A process to fork victims from, one for each worker of the test run; and figures, told at the end."""

import json
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from secrets import token_bytes
from typing import Any

import pytest

from calendars.servers import Server, radicale
from processes.conftest import a_server, data_dir, place, practice, template

__all__ = ["a_server", "data_dir", "place", "practice", "template"]

TESTS = Path(__file__).resolve().parents[1]


class Zygote:
    """Forks a server for each order; see victim.py."""

    def __init__(self, url: str, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._process = subprocess.Popen(
            [sys.executable, "-m", "crashes.victim", url, str(data_dir)],
            cwd=TESTS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(data_dir / "victims.log").open("w"),
            text=True,
        )

    def run(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert "broken" not in told, (told, (self.data_dir / "victims.log").read_text()[-3000:])
        return told

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


@pytest.fixture(scope="session")
def caldav() -> Iterator[Server]:
    """Outlives every victim."""
    with radicale() as server:
        yield server


@pytest.fixture(scope="session")
def zygote(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    data_dir = tmp_path_factory.mktemp("victim")
    # A ring of two keys: what was sealed with the second can be sealed with the first.
    (data_dir / "secret-key").write_text(
        ",".join(urlsafe_b64encode(token_bytes(32)).decode() for _ in range(2))
    )
    zygote = Zygote(database_url, data_dir)
    yield zygote
    zygote.end()
