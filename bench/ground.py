# SPDX-License-Identifier: Apache-2.0
"""What every measurement stands on: a server of its own, the floor (pgbench's one-row insert), and a practice."""

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg

from holdfirst.embedded_postgres import EmbeddedPostgres
from holdfirst.postgres_installation import binaries

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "3"))
CLIENTS = 32


@contextlib.contextmanager
def server() -> Iterator[tuple[str, Path]]:
    """(URL, data directory) of a fresh PostgreSQL."""
    with (
        tempfile.TemporaryDirectory(prefix="hf-bench-") as folder,
        EmbeddedPostgres(Path(folder)) as embedded,
    ):
        yield embedded.start(), Path(folder)


def server_pid(url: str) -> int:
    """The server's main process; the others are its children."""
    folder = Path(parse_qs(urlsplit(url).query)["host"][0])
    return int(next(folder.glob(".s.PGSQL.*.lock")).read_text().split()[0])


@contextlib.asynccontextmanager
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    link = await asyncpg.connect(url)
    try:
        yield link
    finally:
        await link.close()


class Floor:
    """pgbench: one row in, one commit, prepared, as many clients as the measured thing has."""

    def __init__(self, url: str, folder: Path) -> None:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        self._arguments = [
            "-h",
            query["host"][0],
            "-p",
            query["port"][0],
            "-U",
            parts.username,
            parts.path.strip("/"),
        ]
        self._script = folder / "floor.sql"
        self._script.write_text("insert into floor (a, b) values (1, 'one row, one commit');\n")

    @staticmethod
    async def prepare(url: str) -> None:
        async with connection(url) as link:
            await link.execute(
                "create table if not exists floor (id bigserial primary key, a integer, b text)"
            )

    def measure(self, seconds: float = SECONDS) -> float:
        """Inserts a second."""
        command = [str(binaries() / "pgbench"), "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "1"]
        done = subprocess.run(
            [*command, "-T", str(max(1, round(seconds))), "-f", str(self._script), *self._arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        return float(re.search(r"tps = ([\d.]+)", done.stdout)[1])
