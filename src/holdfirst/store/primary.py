# SPDX-License-Identifier: Apache-2.0
"""Reach the primary among the hosts of a URL, and notice when it is gone.

A host that answers nothing at all must not keep us from the next one, and a connection to it must not be waited on
for as long as TCP would: a quarter of an hour. No statement is cancelled for that; the connection breaks, and what
became of a COMMIT on it is as unknown as it was.
"""

import os
import socket
from asyncio import staggered
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncpg

NEXT_HOST_SECONDS = 0.25
"""A host that has not answered by then is not waited for alone."""
CONNECT_SECONDS = 5
GONE_SECONDS = 8
"""So long may a connection's other end be silent where it owes an answer, before the connection counts as broken."""


async def connect_primary(dsn: str | None = None, **named: Any) -> Any:
    """A connection; raises what the last host said, where none of them is the primary."""
    assert dsn is not None
    named |= {
        "target_session_attrs": asyncpg.connect_utils.SessionAttribute.primary,
        # A COMMIT is never cancelled by a timer of ours: its outcome would be unknown.
        "command_timeout": None,
        "timeout": CONNECT_SECONDS,
    }
    tries: list[Callable[[], Awaitable[Any]]] = [
        partial(asyncpg.connect, dsn, **named, **one) for one in hosts_of(dsn)
    ]
    connection, _, errors = await staggered.staggered_race(tries, NEXT_HOST_SECONDS)
    if connection is None:
        raise next(error for error in reversed(errors) if error is not None)
    _watch_over(connection)
    return connection


def hosts_of(url: str) -> list[dict[str, Any]]:
    """What to connect with, for each host that the URL names; for one alone, the URL says it all."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    named = [unquote(one) for one in parts.netloc.rpartition("@")[2].split(",")]
    if named == [""]:
        named = query.get("host", "").split(",")
    if len(named) == 1:
        return [{}]
    ports = (query.get("port") or os.environ.get("PGPORT") or "5432").split(",")
    if len(ports) == 1:
        ports *= len(named)
    return [_host_and_port(host, port) for host, port in zip(named, ports, strict=False)]


def _host_and_port(host: str, port: str) -> dict[str, Any]:
    """`host`, `host:port`, `[v6]:port`, `v6` or the directory of a socket."""
    bare, _, own_port = host.rpartition(":")
    if host.startswith("/") or not own_port.isdecimal() or (":" in bare and not bare.endswith("]")):
        bare, own_port = host, port
    return {"host": bare.strip("[]"), "port": int(own_port)}


def _watch_over(connection: Any) -> None:
    """Have the kernel ask a silent other end whether it is there."""
    transport = connection._transport  # noqa: SLF001  # the driver gives no other way to its socket
    shared = transport.get_extra_info("socket")
    if shared is None or shared.family == socket.AF_UNIX:
        return
    options = {
        "TCP_KEEPIDLE": GONE_SECONDS // 2,
        "TCP_KEEPINTVL": GONE_SECONDS // 4,
        "TCP_KEEPCNT": 2,
        "TCP_USER_TIMEOUT": GONE_SECONDS * 1000,
    }
    with socket.socket(fileno=os.dup(shared.fileno())) as ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in options.items():
            # Linux has them all, others some.
            if (option := getattr(socket, name, None)) is not None:
                ours.setsockopt(socket.IPPROTO_TCP, option, value)
