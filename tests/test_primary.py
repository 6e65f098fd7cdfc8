# SPDX-License-Identifier: Apache-2.0
"""Which hosts a URL names, and how the primary is found among some that are dead, silent or strangers."""

import asyncio
import socket
import time
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from holdfirst.errors import DatabaseUnavailable
from holdfirst.store.database import Database
from holdfirst.store.primary import CONNECT_SECONDS, GONE_SECONDS, connect_primary, hosts_of


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://u@one:1,two:2/db", [("one", 1), ("two", 2)]),
        ("postgresql://u:p%2C@one,two/db", [("one", 5432), ("two", 5432)]),
        ("postgresql://u@one,two:7/db?port=6", [("one", 6), ("two", 7)]),
        ("postgresql://u@[::1]:7,[::2]/db", [("::1", 7), ("::2", 5432)]),
        ("postgresql://u@/db?host=/a,/b&port=1,2", [("/a", 1), ("/b", 2)]),
        ("postgresql://u@/db?host=%2Fa%2Cone", [("/a", 5432), ("one", 5432)]),
        ("postgresql://u@/db?host=/a:1,::1&port=2", [("/a:1", 2), ("::1", 2)]),
    ],
)
def test_hosts_of_a_url(url: str, hosts: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGPORT", raising=False)
    assert [(one["host"], one["port"]) for one in hosts_of(url)] == hosts


@pytest.mark.parametrize("url", ["postgresql://u@one:1/db", "postgresql:///db", "postgresql:///db?host=/a"])
def test_one_host_is_the_urls_own_business(url: str) -> None:
    assert hosts_of(url) == [{}]


async def test_the_primary_is_asked_for_and_watched_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which there is no standby here: what the driver is told, and the kernel."""
    told: dict[str, Any] = {}
    silent = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    _, writer = await asyncio.open_connection("127.0.0.1", port)

    async def connect(_: str, **named: Any) -> Any:
        told.update(named)
        return SimpleNamespace(_transport=writer.transport)

    monkeypatch.setattr(asyncpg, "connect", connect)
    await connect_primary(f"postgresql://u@127.0.0.1:{port}/db")
    assert told["target_session_attrs"] is asyncpg.connect_utils.SessionAttribute.primary
    assert (told["command_timeout"], told["timeout"]) == (None, CONNECT_SECONDS)
    shared = writer.transport.get_extra_info("socket")
    assert shared.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        assert shared.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == GONE_SECONDS * 1000
    writer.close()
    silent.close()


async def test_a_host_that_never_answers_delays_nobody(database_url: str) -> None:
    """Between a port that refuses and one where somebody listens and says nothing."""
    silent = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    refusing = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    refused = refusing.sockets[0].getsockname()[1]
    refusing.close()
    parts = urlsplit(database_url)
    there = parse_qs(parts.query) or {"host": [parts.hostname or ""], "port": [str(parts.port or 5432)]}
    hosts = f"127.0.0.1,127.0.0.1,{there['host'][0]}"
    ports = f"{refused},{port},{there['port'][0]}"
    user = parts.netloc.rpartition("@")[0]
    database = Database(f"postgresql://{user}@{parts.path}?host={hosts}&port={ports}")
    began = time.monotonic()
    await database.open()
    assert time.monotonic() - began < CONNECT_SECONDS
    async with database.statement() as tx:
        assert await tx.value("select 1") == 1
    await database.close()
    with pytest.raises(DatabaseUnavailable):
        await Database(
            f"postgresql://{user}@{parts.path}?host=127.0.0.1,127.0.0.1&port={refused},{refused}"
        ).open()
    silent.close()
