# SPDX-License-Identifier: Apache-2.0
"""Calls to addresses that somebody else chose: bounded in time and size, and never into our own network.

What a name stands for is looked up where the connection is made, and the connection goes to the address that was
judged: there is nothing in between that could change.
"""

import asyncio
import contextlib
import functools
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore
import httpx
import msgspec
from publicsuffixlist import PublicSuffixList

from holdfirst.errors import CalendarDenied, ProviderUnavailable
from holdfirst.providers.lines import Lines

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

REDIRECTS_MAX = 5
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that is given out of IPv6 to be reached from everywhere (RFC 4291). What lies beside it is local, or stands for an
address of another kind.
"""


class Answer(msgspec.Struct, frozen=True):
    """`url`: where it came from in the end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class Refused(CalendarDenied):
    """An address that we do not call, in words for whoever gave it."""


class TooLarge(ProviderUnavailable):
    """More than was asked to be borne."""


@functools.cache
def trusted() -> ssl.SSLContext:
    """The authorities whose certificates we believe; for all of a process: reading them takes 25 ms."""
    return httpx.create_ssl_context()


class Outward:
    """Made once. `allowed`: private networks that may be called all the same (and over plain HTTP). `follow`: redirects."""

    def __init__(
        self, allowed: Iterable[Network] = (), *, verify: ssl.SSLContext | None = None, follow: bool = True
    ) -> None:
        self._follow = follow
        allowed = tuple(allowed)
        context = verify or trusted()
        self._secure = Lines(_Guarded(allowed, only_allowed=False), context)
        self._plain = Lines(_Guarded(allowed, only_allowed=True), context)

    async def aclose(self) -> None:
        await self._secure.aclose()
        await self._plain.aclose()

    async def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        seconds: float = 10.0,
        size_max: int = 32 << 20,
    ) -> Answer:
        """Follows redirects (where it does) within the registrable domain, with everything that was sent; refuses others."""
        try:
            async with asyncio.timeout(seconds):
                for _ in range(REDIRECTS_MAX + 1):
                    answer = await self._once(method, url, headers or {}, content, size_max)
                    target = answer.headers.get("location")
                    if answer.status not in (301, 302, 303, 307, 308) or target is None or not self._follow:
                        return answer
                    url = within(url, _escaped(target))
        except TimeoutError as error:
            raise ProviderUnavailable("no answer in time") from error
        raise Refused("too many redirects")

    async def _once(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes, size_max: int
    ) -> Answer:
        parts = _judged(url)
        lines = self._secure if parts.scheme == "https" else self._plain
        sent = {
            "host": parts.netloc.rpartition("@")[2],
            "user-agent": "holdfirst",
            "accept-encoding": "identity",
        }
        sent |= {name.lower(): value for name, value in headers.items()}
        if content or method in ("PUT", "POST"):
            sent["content-length"] = str(len(content))
        try:
            encoded = [(n.encode(), v.encode("latin-1", "replace")) for n, v in sent.items()]
            async with lines.stream(method, parts.geturl(), encoded, content or None) as response:
                body = bytearray()
                async for part in response.aiter_stream():
                    body += part
                    if len(body) > size_max:
                        raise TooLarge(f"the answer is larger than {size_max >> 20} MiB")
                told = {n.decode("latin-1").lower(): v.decode("latin-1") for n, v in response.headers}
                return Answer(response.status, told, bytes(body), url)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            raise ProviderUnavailable(_words(error)) from error


def within(url: str, target: str) -> str:
    """Where a redirect or a reference leads, if it is one that may be told what we know."""
    led = urljoin(url, target)
    before, after = _judged(url), _judged(led)
    if before.scheme == "https" and after.scheme != "https":
        raise Refused("it leads from https to http")
    if domain_of(before.hostname or "") != domain_of(after.hostname or ""):
        raise Refused(f"it leads to another domain: {after.hostname}")
    return led


@functools.cache
def _suffixes() -> PublicSuffixList:
    """Read when first asked: it is long."""
    return PublicSuffixList()


def domain_of(host: str) -> str:
    """The registrable domain (`icloud.com` of `p42-caldav.icloud.com`); an address stands for itself."""
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return _suffixes().privatesuffix(host.lower().rstrip(".")) or host.lower()


def _judged(url: str) -> Any:
    """In its parts; a name in other letters as the DNS writes it, a path as HTTP does."""
    try:
        parts = urlsplit(url if url.isascii() else str(httpx.URL(url)))
        port = parts.port
    except (ValueError, httpx.InvalidURL) as error:
        raise Refused("it is not a URL") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise Refused("it is not an http or https URL")
    return parts


def _escaped(location: str) -> str:
    """A header's bytes, each read as one letter: those that no URL may hold are meant as they stand."""
    return "".join(one if one.isascii() else f"%{ord(one):02X}" for one in location)


def _words(error: Exception) -> str:
    text = str(error)
    if "CERTIFICATE" in text.upper():
        return f"its certificate does not fit: {text[:200]}"
    return f"{type(error).__name__}: {text[:200]}"


class _Guarded(httpcore.AsyncNetworkBackend):
    """Looks up, judges, and connects to what it judged."""

    def __init__(self, allowed: Sequence[Network], *, only_allowed: bool) -> None:
        self._backend = httpcore.AnyIOBackend()
        self._allowed = allowed
        self._only_allowed = only_allowed

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await _addresses(host, port)
        judged = [one for one in addresses if self._may_call(one)]
        if not judged:
            what = "plain http" if self._only_allowed else "a private address"
            raise Refused(f"{host} is not called: {what} (HOLDFIRST_ALLOW_PRIVATE)")
        failure: Exception = httpcore.ConnectError(f"{host} does not answer")
        for address in judged:
            try:
                return await self._backend.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def _may_call(self, address: Address) -> bool:
        plain = unwrapped(address)
        if any(plain in network for network in self._allowed if network.version == plain.version):
            return True
        return not self._only_allowed and _is_public(plain)


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in UNICAST:
        return False
    return address.is_global and not address.is_multicast


def unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one may carry: what is judged is where it leads."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None) or address


async def _addresses(host: str, port: int) -> list[Address]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"{host} is not known") from error
    seen: dict[Address, None] = {}
    for _, _, _, _, where in found:
        with contextlib.suppress(ValueError):
            seen[ipaddress.ip_address(str(where[0]).partition("%")[0])] = None
    return list(seen)
