# SPDX-License-Identifier: Apache-2.0
"""A primary and a standby, from the binaries that the embedded PostgreSQL has, over TCP."""

import asyncio
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from holdfirst.postgres_installation import Installation, choose_installation, create_cluster, environment


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as one:
        one.bind((address, 0))
        return int(one.getsockname()[1])


class Node:
    """One PostgreSQL server. `skew`: how far its clock is from the true time, in seconds."""

    def __init__(self, home: Path, *, skew: float = 0, address: str = "127.0.0.1") -> None:
        home.mkdir(mode=0o700)
        self.home = home
        self.address = address
        self.port = free_port(address)
        self.skew = skew
        self.installation: Installation = choose_installation(home)
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def cluster(self) -> Path:
        return self.installation.cluster

    @property
    def url(self) -> str:
        return f"postgresql://holdfirst@{self.address}:{self.port}/postgres"

    def create(self) -> "Node":
        create_cluster(self.installation)
        return self

    def follow(self, primary: "Node") -> "Node":
        """A copy of a running primary, that goes on receiving what it writes."""
        self._run(
            "pg_basebackup",
            *("-D", str(self.cluster), "-d", primary.url, "-R", "-X", "stream", "-c", "fast"),
        )
        return self

    def start(self, **settings: str) -> "Node":
        chosen = {
            "listen_addresses": self.address,
            "port": str(self.port),
            "unix_socket_directories": "",
            "shared_buffers": "64MB",
            "max_connections": "120",
            "holdfirst.skew": f"{self.skew} s",
        } | settings
        words = [word for name, value in chosen.items() for word in ("-c", f"{name}={value}")]
        with (self.home / "postgres.log").open("ab") as log:
            self._running = subprocess.Popen(
                self.installation.command("postgres", "-D", str(self.cluster), *words),
                cwd="/",
                env=environment(),
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + 30
        while not self._accepts():
            assert self._running.poll() is None and time.monotonic() < end, self.log
            time.sleep(0.02)
        return self

    @property
    def log(self) -> str:
        return (self.home / "postgres.log").read_text()[-3000:]

    def ask(self, sql: str) -> Any:
        async def ask() -> Any:
            connection = await asyncpg.connect(self.url, timeout=5)
            try:
                return await connection.fetchval(sql)
            finally:
                await connection.close()

        return asyncio.run(ask())

    def run(self, script: str) -> None:
        """Several statements."""

        async def run() -> None:
            connection = await asyncpg.connect(self.url, timeout=5)
            await connection.execute(script)
            await connection.close()

        asyncio.run(run())

    def cut_off(self) -> None:
        """A standby that hears nothing more of its primary."""
        self.ask("alter system set primary_conninfo = ''")
        self.ask("select pg_reload_conf()")
        while self.ask("select count(*) from pg_stat_wal_receiver"):
            time.sleep(0.01)

    def promote(self) -> None:
        assert self.ask("select pg_promote()")

    def kill(self) -> None:
        """As if the machine had lost its power: every process at once."""
        assert self._running is not None
        with suppress(psutil.NoSuchProcess):
            master = psutil.Process(self._running.pid)
            for one in [master, *master.children()]:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
        self._running.wait()

    def clear_away(self) -> None:
        if self._running is not None and self._running.poll() is None:
            self.kill()
        shutil.rmtree(self.cluster, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            self.installation.command(program, *arguments),
            cwd="/",
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def _accepts(self) -> bool:
        try:
            return bool(self.ask("select true"))
        except (OSError, asyncpg.PostgresError, TimeoutError):
            return False
