# SPDX-License-Identifier: Apache-2.0
import ipaddress
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from holdfirst.providers.icalendar_reader import IcalendarReader
from holdfirst.providers.outward import Outward
from holdfirst.store.database import Database

from .fake_graph import FakeGraph, serving
from .on_servers import Connect, OnServers, in_memory
from .practice import Practice, open_practice
from .servers import Server, radicale, xandikos

LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
names = count()


@pytest.fixture(scope="session")
def radicale_server() -> Iterator[Server]:
    with radicale() as server:
        yield server


@pytest.fixture(scope="session")
def xandikos_server() -> Iterator[Server]:
    with xandikos() as server:
        yield server


@pytest.fixture(params=["radicale", "xandikos"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture(scope="session")
async def reader() -> AsyncIterator[IcalendarReader]:
    reader = IcalendarReader()
    yield reader
    await reader.aclose()


@pytest.fixture
async def outward() -> AsyncIterator[Outward]:
    outward = Outward([LOOPBACK])
    yield outward
    await outward.aclose()


@pytest.fixture
def calendar_url(server: Server) -> Iterator[str]:
    """A calendar of this test's own."""
    name = f"cal{next(names)}"
    yield server.make_calendar(name)
    server.drop_calendar(name)


@pytest.fixture
async def fake() -> AsyncIterator[FakeGraph]:
    """Microsoft's Graph, whose rules nobody broke. A file about another company has its own."""
    async with serving(FakeGraph()) as graph:
        yield graph
        assert graph.fouls == []


@pytest.fixture
async def practice(
    database: Database, tmp_path: Path, radicale_server: Server, xandikos_server: Server
) -> AsyncIterator[Practice]:
    """One host with two calendars, one on each server; Radicale's receives."""
    async with open_practice(database.url, tmp_path, [radicale_server, xandikos_server]) as practice:
        yield practice


@pytest.fixture(params=["memory", "servers"])
def connect(
    request: pytest.FixtureRequest,
    radicale_server: Server,
    xandikos_server: Server,
    outward: Outward,
    reader: IcalendarReader,
) -> Iterator[Connect]:
    """Two calendars for a shop's host: in memory, and on two servers that nobody here wrote."""
    if request.param == "memory":
        yield in_memory
        return
    on_servers = OnServers((radicale_server, xandikos_server), outward, reader, f"shop{next(names)}")
    yield on_servers
    on_servers.drop()
