# SPDX-License-Identifier: Apache-2.0
"""Data directories to start from, made once for each worker of the test run."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from processes.running import Practice, Server, clusters_servers, copy, open_practice, set_up


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """Where data directories go; short, because sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="hf-proc-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def template(place: Path) -> Path:
    """A data directory with a practice in it, at rest."""
    server = Server(place / "template")
    server.data_dir.mkdir(mode=0o700)
    try:
        set_up(server.start())
        assert server.end()[0] == 0
    finally:
        server.clear_away()
    server.log.unlink()
    return server.data_dir


@pytest.fixture
def data_dir(place: Path, template: Path) -> Iterator[Path]:
    """A copy of the template of this test's own."""
    folder = copy(template, Path(tempfile.mkdtemp(dir=place)) / "d")
    yield folder
    left = clusters_servers(folder)
    for one in left:
        one.kill()
    shutil.rmtree(folder, ignore_errors=True)
    assert left == []


@pytest.fixture
def a_server(data_dir: Path) -> Iterator[Callable[..., Server]]:
    """Makes servers on this test's data directory; what still runs at its end is stopped."""
    made: list[Server] = []

    def make(*options: str, verb: str = "serve", **settings: str) -> Server:
        made.append(Server(data_dir, options, settings, verb))
        return made[-1]

    yield make
    for server in reversed(made):
        server.clear_away()


@pytest.fixture
def practice(a_server: Callable[..., Server]) -> Practice:
    """A running server with a practice in it."""
    return open_practice(a_server().start())


@pytest.fixture(scope="module")
def shared(place: Path, template: Path) -> Iterator[Practice]:
    """One running server for tests that leave it alone."""
    server = Server(copy(template, Path(tempfile.mkdtemp(dir=place)) / "d"))
    try:
        yield open_practice(server.start())
    finally:
        server.clear_away()
