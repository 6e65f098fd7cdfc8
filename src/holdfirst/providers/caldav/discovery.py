# SPDX-License-Identifier: Apache-2.0
"""From an address, a name and a password to the calendars (RFC 6764): principal, home, collections."""

from urllib.parse import urljoin

from holdfirst.calendar.provider import Found, FoundCalendar
from holdfirst.errors import CalendarDenied
from holdfirst.providers.caldav.connection import Account, Unanswered
from holdfirst.providers.caldav.multistatus import CALDAV, DAV, Member, Multistatus, propfind

_WHO = propfind("d:current-user-principal", "d:resourcetype")
_HOME = propfind("c:calendar-home-set", "c:calendar-user-address-set")
_CALENDARS = propfind(
    "d:resourcetype",
    "d:displayname",
    "d:current-user-privilege-set",
    "c:supported-calendar-component-set",
    "c:calendar-timezone",
)
_WRITES = (f"{DAV}all", f"{DAV}write", f"{DAV}write-content", f"{DAV}bind")


async def discover(account: Account) -> Found:
    """Raises `CalendarDenied` where there is nothing to find."""
    principal = await _principal(account)
    told, at = await account.look("PROPFIND", principal, _HOME, 0)
    homes = [home for one in told.members if (home := one.href_in(f"{CALDAV}calendar-home-set"))]
    if not homes:
        raise CalendarDenied("the server names no home of calendars for this account")
    home = account.url_of(at, homes[0])
    members, home = await account.look("PROPFIND", home, _CALENDARS, 1)
    return Found(
        calendars=_calendars(account, home, members),
        server={"home": home, "principal": principal},
        owners=_addresses(told),
    )


async def _principal(account: Account) -> str:
    for url in (account.root, urljoin(account.root, "/.well-known/caldav"), urljoin(account.root, "/")):
        try:
            told, at = await account.look("PROPFIND", url, _WHO, 0)
        except Unanswered:
            continue
        for member in told.members:
            href = member.href_in(f"{DAV}current-user-principal")
            if href is not None:
                return account.url_of(at, href)
    raise CalendarDenied("there is no CalDAV server at this address")


def _calendars(account: Account, home: str, told: Multistatus) -> list[FoundCalendar]:
    return [
        FoundCalendar(
            ref=account.url_of(home, member.href),
            name=(member.text(f"{DAV}displayname") or member.href.rstrip("/").rpartition("/")[2])[:200],
            time_zone=_zone(member),
            writable=_writable(member),
        )
        for member in told.members
        if _is_calendar(member)
    ]


def _is_calendar(member: Member) -> bool:
    kind = member.found.get(f"{DAV}resourcetype")
    if kind is None or kind.find(f"{CALDAV}calendar") is None:
        return False
    components = member.found.get(f"{CALDAV}supported-calendar-component-set")
    named = [] if components is None else [one.get("name", "").upper() for one in components]
    return not named or "VEVENT" in named


def _writable(member: Member) -> bool:
    """Where a server does not say, we try."""
    privileges = member.found.get(f"{DAV}current-user-privilege-set")
    if privileges is None:
        return True
    return any(privileges.find(f".//{name}") is not None for name in _WRITES)


def _zone(member: Member) -> str | None:
    """The TZID of CALDAV:calendar-timezone; whoever stores it decides whether it is a zone."""
    for line in (member.text(f"{CALDAV}calendar-timezone") or "").splitlines():
        if line.upper().startswith("TZID"):
            return line.partition(":")[2].strip()[:100] or None
    return None


def _addresses(told: Multistatus) -> list[str]:
    found = []
    for member in told.members:
        addresses = member.found.get(f"{CALDAV}calendar-user-address-set")
        for one in addresses if addresses is not None else ():
            text = (one.text or "").strip().lower()
            if text.startswith("mailto:"):
                found.append(text.removeprefix("mailto:"))
    return found
