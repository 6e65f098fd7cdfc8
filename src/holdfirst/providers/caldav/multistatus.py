# SPDX-License-Identifier: Apache-2.0
"""WebDAV's XML: the questions as text, the 207 as structs. No document type, no entities: they are refused."""

from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

import msgspec
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from holdfirst.errors import ProviderUnavailable

DAV = "{DAV:}"
CALDAV = "{urn:ietf:params:xml:ns:caldav}"
SERVER = "{http://calendarserver.org/ns/}"
_SPACES = 'xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:s="http://calendarserver.org/ns/"'


class Member(msgspec.Struct, frozen=True):
    """One resource of a 207. `found`: its properties that were found, by name; `gone`: the resource itself is not. `cut`: the
    answer ends here, though there is more.
    """

    href: str
    gone: bool
    cut: bool
    found: dict[str, Any]

    def text(self, name: str) -> str | None:
        element = self.found.get(name)
        return None if element is None or element.text is None else element.text.strip()

    def href_in(self, name: str) -> str | None:
        element = self.found.get(name)
        inner = None if element is None else element.find(f"{DAV}href")
        return None if inner is None or not inner.text else inner.text.strip()


class Multistatus(msgspec.Struct, frozen=True):
    members: list[Member]
    token: str | None

    @property
    def cut(self) -> bool:
        return any(one.cut for one in self.members)


def parse(body: bytes) -> Multistatus:
    """Raises `ProviderUnavailable` where it is no multistatus: nothing is known then."""
    try:
        root = fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise ProviderUnavailable(f"the server's XML cannot be read: {type(error).__name__}") from error
    if root.tag != f"{DAV}multistatus":
        raise ProviderUnavailable("the server answered something else than a multistatus")
    members = [_member(one) for one in root.findall(f"{DAV}response")]
    token = root.find(f"{DAV}sync-token")
    return Multistatus(members, None if token is None or not token.text else token.text.strip())


def _member(response: Any) -> Member:
    """A 404 within a propstat is a property that is not there; only one of the response itself is a deletion."""
    href = response.find(f"{DAV}href")
    status = response.find(f"{DAV}status")
    found = {}
    for part in response.findall(f"{DAV}propstat"):
        if " 200" in _status(part.find(f"{DAV}status")):
            for element in part.find(f"{DAV}prop") or ():
                found[element.tag] = element
    gone = any(code in _status(status) for code in (" 404", " 410"))
    return Member("" if href is None else (href.text or "").strip(), gone, " 507" in _status(status), found)


def _status(element: Any) -> str:
    return "" if element is None else element.text or ""


def names_error(body: bytes, name: str) -> bool:
    """Whether an error's body names this precondition."""
    return name.encode() in body


def propfind(*properties: str) -> bytes:
    inner = "".join(f"<{name}/>" for name in properties)
    return _document(f"<d:propfind {_SPACES}><d:prop>{inner}</d:prop></d:propfind>")


def events_between(start: str, end: str) -> bytes:
    """Whole objects, not expanded: servers differ in expanding, and one needs seconds for it."""
    return _document(
        f"<c:calendar-query {_SPACES}><d:prop><d:getetag/><c:calendar-data/></d:prop><c:filter>"
        '<c:comp-filter name="VCALENDAR"><c:comp-filter name="VEVENT">'
        f'<c:time-range start="{start}" end="{end}"/></c:comp-filter></c:comp-filter></c:filter></c:calendar-query>'
    )


def events_named(uid: str) -> bytes:
    """Those with this in their UID: a server may look for equal ones, or for any that hold it."""
    return _document(
        f"<c:calendar-query {_SPACES}><d:prop><d:getetag/><c:calendar-data/></d:prop><c:filter>"
        '<c:comp-filter name="VCALENDAR"><c:comp-filter name="VEVENT"><c:prop-filter name="UID">'
        f'<c:text-match collation="i;octet">{escape(uid)}</c:text-match>'
        "</c:prop-filter></c:comp-filter></c:comp-filter></c:filter></c:calendar-query>"
    )


def multiget(hrefs: Sequence[str]) -> bytes:
    inner = "".join(f"<d:href>{escape(one)}</d:href>" for one in hrefs)
    return _document(
        f"<c:calendar-multiget {_SPACES}><d:prop><d:getetag/><c:calendar-data/></d:prop>{inner}</c:calendar-multiget>"
    )


def sync(token: str) -> bytes:
    """Never with a limit: several servers lose what lies beyond it."""
    return _document(
        f"<d:sync-collection {_SPACES}><d:sync-token>{escape(token)}</d:sync-token>"
        "<d:sync-level>1</d:sync-level><d:prop><d:getetag/></d:prop></d:sync-collection>"
    )


def _document(inner: str) -> bytes:
    return f'<?xml version="1.0" encoding="utf-8"?>{inner}'.encode()
