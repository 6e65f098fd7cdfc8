# SPDX-License-Identifier: Apache-2.0
"""Addresses that a host typed: never into our own network, never to another domain, never without an end."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from holdfirst.calendar.provider import Access, Place
from holdfirst.errors import CalendarDenied, ProviderUnavailable
from holdfirst.providers.caldav import CalDav
from holdfirst.providers.icalendar_reader import IcalendarReader
from holdfirst.providers.outward import Outward, Refused, domain_of, unwrapped, within

from .test_reading import ASKED

LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


@asynccontextmanager
async def answering(*answers: bytes, after: Callable[[Any], Any] | None = None) -> AsyncIterator[str]:
    """A server that says exactly this, connection by connection (the last one again and again)."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        try:
            await writer.drain()
            if after is not None:
                await after(writer)
        except OSError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def said(body: bytes, status: str = "207 Multi-Status", *more: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in more)
    return (
        f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{head}\r\n".encode() + body
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/", "https://localhost/", "https://10.0.0.1/", "https://169.254.169.254/latest/",
        "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[fd00::1]/", "https://0.0.0.0/",
        "https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/", "https://192.168.1.1:8443/", "https://2130706433/",
        "http://example.org/", "http://93.184.215.14/", "ftp://example.org/", "file:///etc/passwd", "https:///x",
        "https://a:99999/", "nonsense", "https://224.0.0.1/",
        "https://[fec0::1]/", "https://[64:ff9b:1::a00:1]/", "https://[::7f00:1]/", "https://[::ffff:0:7f00:1]/",
        "https://[ff0e::1]/", "https://[4000::1]/", "https://exa\u2100mple.org/", "https://\uff11\uff12\uff17.0.0.1:x/",
    ],
)  # fmt: skip
async def test_what_is_not_called(url: str, monkeypatch: pytest.MonkeyPatch):
    async def public(*_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 80))]

    if "example.org" in url:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", public)
    outward = Outward()
    with pytest.raises(Refused):
        await outward.ask("GET", url, seconds=3)
    await outward.aclose()


async def test_a_name_is_judged_by_what_the_connection_goes_to(monkeypatch: pytest.MonkeyPatch):
    """A name that says something public when it is checked and something private when it is used gains nothing: it is
    looked up once, where the connection is made.
    """
    looked: list[str] = []

    async def turning(host: str, port: int, **_: Any) -> Any:
        looked.append(host)
        address = "93.184.215.14" if len(looked) > 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", turning)
    outward = Outward()
    with pytest.raises(Refused):
        await outward.ask("GET", "https://calendar.example/", seconds=3)
    assert looked == ["calendar.example"]
    await outward.aclose()


async def test_an_allowed_network_may_be_called_over_plain_http():
    async with answering(said(b"hello", "200 OK")) as url:
        outward = Outward([LOOPBACK])
        assert (await outward.ask("GET", url)).body == b"hello"
        await outward.aclose()


@pytest.mark.parametrize(
    "target",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/",
        "http://example.org/",
        "gopher://127.0.0.1/",
        "//evil.example/",
    ],
)
async def test_no_redirect_leads_elsewhere(target: str):
    redirect = said(b"", "302 Found", f"Location: {target}")
    async with answering(redirect) as url:
        outward = Outward([LOOPBACK])
        with pytest.raises(Refused):
            await outward.ask("GET", url, headers={"authorization": "Basic c2VjcmV0"})
        await outward.aclose()


class Raw(asyncio.Protocol):
    """Remembers what came, and says that nothing is there."""

    def __init__(self, heard: list[bytes]) -> None:
        self._heard = heard

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard.append(data.partition(b"\r\n")[0])
        where = "Location: /žluť%20kůň?ů=1\r\n".encode() if len(self._heard) == 1 else b""
        status = b"302 Found" if where else b"404 Not Found"
        self._transport.write(b"HTTP/1.1 " + status + b"\r\n" + where + b"Content-Length: 0\r\n\r\n")


async def test_other_letters_are_written_as_http_has_them():
    """In an address that was typed or stands in somebody's XML, and in a redirect, raw."""
    heard: list[bytes] = []
    server = await asyncio.get_running_loop().create_server(lambda: Raw(heard), "127.0.0.1", 0)
    outward = Outward([LOOPBACK])
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/kůň/a%2Fb"
        assert (await outward.ask("GET", url)).status == 404
    await outward.aclose()
    assert heard == [
        b"GET /k%C5%AF%C5%88/a%2Fb HTTP/1.1",
        b"GET /%C5%BElu%C5%A5%20k%C5%AF%C5%88?%C5%AF=1 HTTP/1.1",
    ]


async def test_a_name_in_other_letters_is_looked_up_as_the_dns_has_it(monkeypatch: pytest.MonkeyPatch):
    looked: list[str] = []

    async def nothing(host: str, port: int, **_: Any) -> Any:
        looked.append(host)
        return []

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nothing)
    outward = Outward()
    with pytest.raises(Refused):
        await outward.ask("GET", "https://Kůň.example/a")
    assert looked == ["xn--k-qla0j.example"]
    assert within("https://kůň.example/", "https://a.kůň.example/b") == "https://a.kůň.example/b"
    await outward.aclose()


async def test_redirects_end():
    async with answering(said(b"", "302 Found", "Location: /again")) as url:
        outward = Outward([LOOPBACK])
        with pytest.raises(Refused, match="too many"):
            await outward.ask("GET", url)
        await outward.aclose()


def test_redirects_stay_within_what_somebody_registered():
    assert (
        within("https://caldav.icloud.com/", "https://p42-caldav.icloud.com/1/")
        == "https://p42-caldav.icloud.com/1/"
    )
    assert within("https://a.example.co.uk/x/", "../y/") == "https://a.example.co.uk/y/"
    for target in ("https://icloud.com.evil.example/", "https://b.co.uk/", "http://caldav.icloud.com/"):
        with pytest.raises(Refused):
            within("https://caldav.icloud.com/" if "icloud" in target else "https://a.co.uk/", target)
    assert domain_of("127.0.0.1") != domain_of("10.0.0.1")
    assert str(unwrapped(ipaddress.ip_address("2001:0:7f00:1::"))) != "127.0.0.1"


async def test_an_answer_without_end_is_ended():
    async def on_and_on(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with answering(b"HTTP/1.1 200 OK\r\n\r\n", after=on_and_on) as url:
        outward = Outward([LOOPBACK])
        with pytest.raises(ProviderUnavailable, match="larger than"):
            await outward.ask("GET", url, size_max=1 << 20)
        await outward.aclose()


async def test_a_slow_answer_is_not_waited_for():
    async def slowly(writer: asyncio.StreamWriter) -> None:
        for _ in range(50):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.1)

    async with answering(b"HTTP/1.1 200 OK\r\n\r\n", after=slowly) as url:
        outward = Outward([LOOPBACK])
        with pytest.raises(ProviderUnavailable, match="in time"):
            await outward.ask("GET", url, seconds=0.3)
        await outward.aclose()


def certificate(folder: Path, name: str, *, days: int) -> ssl.SSLContext:
    """For `name` and by nobody; ends in so many days."""
    key = generate_private_key(65537, 2048)
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    end = datetime.now(UTC) + timedelta(days=days)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    alternatives = [address if name == "127.0.0.1" else x509.DNSName(name)]
    made = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(end - timedelta(days=30))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(key, SHA256())
    )
    path = folder / "server.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + made.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.mark.parametrize(
    ("name", "days", "trusted"),
    [("127.0.0.1", 1, False), ("other.example", 1, True), ("127.0.0.1", -1, True), ("127.0.0.1", 1, True)],
)
async def test_a_certificate_that_does_not_fit_is_said(tmp_path: Path, name: str, days: int, trusted: bool):
    """By nobody; of another name; run out; and one that fits."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(said(b"hello", "200 OK"))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=certificate(tmp_path, name, days=days))
    known = ssl.create_default_context(cafile=str(tmp_path / "server.pem") if trusted else None)
    outward = Outward([LOOPBACK], verify=known)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server:
        if (name, days, trusted) == ("127.0.0.1", 1, True):
            assert (await outward.ask("GET", url)).body == b"hello"
        else:
            with pytest.raises(ProviderUnavailable, match="certificate does not fit"):
                await outward.ask("GET", url, headers={"authorization": "Basic c2VjcmV0"})
            # Nothing was told to whoever that is.
            assert heard == []
    await outward.aclose()


BOMB = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<multistatus xmlns="DAV:"><response><href>&b;</href></response></multistatus>"""
FILE = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>
<multistatus xmlns="DAV:"><response><href>&a;</href></response></multistatus>"""


@pytest.mark.parametrize(
    "body", [BOMB, FILE, b"", b"<html>", b"\x00\xff", b"<multistatus/>", b"<a xmlns='DAV:'/>"]
)
async def test_xml_that_is_not_a_multistatus_is_a_server_that_does_not_answer(
    reader: IcalendarReader, body: bytes
):
    async with answering(said(body)) as url:
        outward = Outward([LOOPBACK])
        caldav = CalDav(outward, reader)
        place = Place(access=Access(secrets={"url": url}), ref=url, time_zone="UTC")
        with pytest.raises(ProviderUnavailable):
            await caldav.busy(place, ASKED.start, ASKED.end)
        with pytest.raises((ProviderUnavailable, CalendarDenied)):
            await caldav.discover(place.access)
        await outward.aclose()


@pytest.mark.parametrize(
    "status", ["429 Too Many Requests", "500 Oops", "503 Later", "403 No", "404 Not Found", "200 OK"]
)
async def test_whatever_a_server_says_is_one_of_two_failures(reader: IcalendarReader, status: str):
    async with answering(said(b"", status)) as url:
        outward = Outward([LOOPBACK])
        caldav = CalDav(outward, reader)
        place = Place(access=Access(secrets={"url": url}), ref=url, time_zone="UTC")
        for call in (
            caldav.busy(place, ASKED.start, ASKED.end),
            caldav.changes(place, None, {}, (ASKED.start, ASKED.end)),
            caldav.discover(place.access),
        ):
            with pytest.raises((ProviderUnavailable, CalendarDenied)):
                await call
        await outward.aclose()


async def test_a_home_on_another_domain_is_refused(reader: IcalendarReader):
    body = (
        b'<multistatus xmlns="DAV:"><response><href>/</href><propstat><prop><current-user-principal>'
        b"<href>https://evil.example/me/</href></current-user-principal></prop>"
        b"<status>HTTP/1.1 200 OK</status></propstat></response></multistatus>"
    )
    async with answering(said(body)) as url:
        outward = Outward([LOOPBACK])
        with pytest.raises(CalendarDenied, match="another domain"):
            await CalDav(outward, reader).discover(Access(secrets={"url": url}))
        await outward.aclose()
