# SPDX-License-Identifier: Apache-2.0
"""Whose request it is: the peer's address, or what a proxy that we trust says, and no further."""

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from litestar.types import Scope

from holdfirst.errors import ConfigurationError

Networks = tuple[IPv4Network | IPv6Network, ...]


def client_address(scope: Scope, trusted_proxies: str) -> str:
    """The right-most address of `X-Forwarded-For` that no proxy of ours has; whatever stands left of it anybody wrote."""
    client = scope.get("client")
    address = client[0] if client else "unknown"
    trusted = networks(trusted_proxies)
    if not _is_in(address, trusted):
        return address
    forwarded = ",".join(
        value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"x-forwarded-for"
    )
    for hop in reversed([part.strip() for part in forwarded.split(",") if part.strip()]):
        if not _is_address(hop):
            return address
        address = hop
        if not _is_in(hop, trusted):
            return address
    return address


@lru_cache(maxsize=8)
def networks(setting: str, name: str = "HOLDFIRST_TRUSTED_PROXIES") -> Networks:
    """Addresses and networks, separated by commas; `name` is the setting's."""
    try:
        return tuple(ip_network(part.strip(), strict=False) for part in setting.split(",") if part.strip())
    except ValueError as error:
        raise ConfigurationError(f"{name}: {error}") from error


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_in(text: str, trusted: Networks) -> bool:
    return _is_address(text) and any(ip_address(text) in network for network in trusted)
