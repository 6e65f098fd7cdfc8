# SPDX-License-Identifier: Apache-2.0
"""Connections are kept for the next call to the same server, and only those on which it may be made."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from holdfirst.errors import ProviderUnavailable
from holdfirst.providers import lines
from holdfirst.providers.outward import Outward

LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


@dataclass
class Company:
    """Answers each call with its path. `made`: connections so far; `open`: those that are. `ends`: each of them a moment after an
    answer, without having said so. `seconds`: what the answer to a path takes.
    """

    url: str = ""
    made: int = 0
    open: int = 0
    ends: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.made += 1
        self.open += 1
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                path = head.split()[1]
                await asyncio.sleep(self.seconds.get(path, 0))
                writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(path)}\r\n\r\n{path}".encode())
                await writer.drain()
                if self.ends:
                    await asyncio.sleep(0.01)
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


@pytest.fixture
async def company() -> AsyncIterator[Company]:
    company = Company()
    server = await asyncio.start_server(company.serve, "127.0.0.1", 0)
    company.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield company
    server.close()


async def told(outward: Outward, company: Company, path: str = "/", seconds: float = 5) -> str:
    return (await outward.ask("GET", company.url + path, seconds=seconds)).body.decode()


async def test_one_after_another_go_over_one_connection(outward: Outward, company: Company):
    assert [await told(outward, company, f"/{one}") for one in range(3)] == ["/0", "/1", "/2"]
    assert company.made == 1


async def test_at_once_each_has_its_own_and_all_are_kept(outward: Outward, company: Company):
    paths = [f"/{one}" for one in range(5)]
    company.seconds = dict.fromkeys(paths, 0.1)
    for _ in range(2):
        assert await asyncio.gather(*[told(outward, company, one) for one in paths]) == paths
    assert company.made == 5


async def test_one_that_its_server_ended_is_not_used_again(outward: Outward, company: Company):
    company.ends = True
    for one in range(3):
        assert await told(outward, company, f"/{one}") == f"/{one}"
        await asyncio.sleep(0.03)
    assert company.made == 3


async def test_an_answer_that_was_given_up_is_nobody_elses(outward: Outward, company: Company):
    company.seconds = {"/slow": 0.1}
    assert await told(outward, company) == "/"
    with pytest.raises(ProviderUnavailable):
        await told(outward, company, "/slow", 0.02)
    assert await told(outward, company, "/mine") == "/mine"
    await asyncio.sleep(0.15)
    assert await told(outward, company, "/mine") == "/mine"
    assert (company.made, company.open) == (2, 1)


async def test_no_more_are_open_than_may_be_and_no_more_kept(
    company: Company, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lines, "OPEN_MAX", 3)
    monkeypatch.setattr(lines, "KEPT_MAX", 2)
    paths = [f"/{one}" for one in range(7)]
    company.seconds = dict.fromkeys(paths, 0.02)
    outward = Outward([LOOPBACK])
    assert await asyncio.gather(*[told(outward, company, one) for one in paths]) == paths
    await asyncio.sleep(0.02)
    assert company.made <= 5 and company.open == 2
    await outward.aclose()
    await asyncio.sleep(0.02)
    assert company.open == 0


async def test_what_nobody_used_for_long_is_ended(company: Company, monkeypatch: pytest.MonkeyPatch):
    """By the next call, whoever's it is."""
    monkeypatch.setattr(lines, "KEPT_SECONDS", 0.05)
    company.seconds = {"/a": 0.02, "/b": 0.02}
    outward = Outward([LOOPBACK])
    await asyncio.gather(told(outward, company, "/a"), told(outward, company, "/b"))
    assert company.open == 2
    await asyncio.sleep(0.1)
    await told(outward, company)
    await asyncio.sleep(0.02)
    assert (company.made, company.open) == (3, 1)
    await outward.aclose()


async def test_a_server_that_is_not_there_leaves_nothing_behind(company: Company):
    outward = Outward([LOOPBACK])
    with pytest.raises(ProviderUnavailable):
        await outward.ask("GET", "http://127.0.0.1:9/")
    assert await told(outward, company) == "/"
    await outward.aclose()
