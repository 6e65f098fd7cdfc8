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
        ("postgresql://u:p@1@%2Fa,two/db", [("/a", 5432), ("two", 5432)]),
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


def test_a_port_that_the_url_does_not_name_is_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "7")
    assert [one["port"] for one in hosts_of("postgresql://u@one,two:2/db")] == [7, 2]
    assert [one["port"] for one in hosts_of("postgresql://u@one,two/db?port=6")] == [6, 6]


async def test_where_no_host_is_the_primary_the_last_one_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(_: str, *, host: str, **__: Any) -> Any:
        raise OSError(host)

    monkeypatch.setattr(asyncpg, "connect", connect)
    with pytest.raises(OSError, match="three"):
        await connect_primary("postgresql://u@one,two,three/db")


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
    asked = {"TCP_KEEPIDLE": GONE_SECONDS // 2, "TCP_KEEPINTVL": GONE_SECONDS // 4, "TCP_KEEPCNT": 2}
    for name, value in (asked | {"TCP_USER_TIMEOUT": GONE_SECONDS * 1000}).items():
        if hasattr(socket, name):
            assert shared.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value
    # It is the driver's own again, and still open.
    assert shared.fileno() >= 0 and not writer.transport.is_closing()
    writer.close()
    silent.close()


async def test_what_has_no_socket_is_not_watched_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was closed while it was made, say."""
    bare = SimpleNamespace(_transport=SimpleNamespace(get_extra_info=lambda _: None))

    async def connect(_: str, **__: Any) -> Any:
        return bare

    monkeypatch.setattr(asyncpg, "connect", connect)
    assert await connect_primary("postgresql://u@one/db") is bare


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
