# SPDX-License-Identifier: Apache-2.0
"""A host with a calendar on a real CalDAV server, and event types that ask it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import unquote

from calendars.practice import texts_in
from calendars.servers import NAME, PASSWORD, send, vevent
from holdfirst.calendar.calendar_event import marker
from holdfirst.store.database import Tx
from house import CUSTOMER, HOURS, House

names = count()


@dataclass
class Practice:
    """`url`: its calendar, at the server itself; `offers`: slugs of event types by their rules."""

    host: str
    connection: str
    calendar: str
    url: str
    account: str
    offers: dict[str, str]

    async def offer(self, house: House, mode: str = "free", **rules: Any) -> str:
        """The slug of an event type of this host's; `verified`, if nothing else is said."""
        rules = {"calendar_check": "verified"} | rules
        name = f"{mode} {rules}"
        if name not in self.offers:
            body = {"name": mode, "hosts": [self.host], "duration_minutes": 60, "horizon_days": 365} | rules
            if mode != "free":
                told = await house.ask("GET", f"/v1/event-types/{mode.replace('_', '-')}")
                body |= {name: told[name] for name in ("price", "payment_account")}
            self.offers[name] = (await house.ask("POST", "/v1/event-types", body))["id"]
        return self.offers[name]

    async def wish(self, house: House, mode: str = "free", **rules: Any) -> dict[str, Any]:
        """What a reserve says."""
        offer = await self.offer(house, mode, **rules)
        return {"event_type": offer, "start": house.start(), "customer": CUSTOMER}

    async def held(self, house: House, mode: str = "free", **rules: Any) -> dict[str, Any]:
        told: dict[str, Any] = await house.ask(
            "POST", "/v1/reservations", await self.wish(house, mode, **rules)
        )
        # What asks a second time, or a first one where nobody waited.
        await house.settle()
        return told

    async def confirmed(self, house: House, mode: str = "free", **rules: Any) -> dict[str, Any]:
        held = await self.held(house, mode, **rules)
        answer = await house.verb(held, "confirm", {"payment_reference": "till"} if mode != "free" else {})
        assert answer.status_code == 200, answer.text
        await house.settle()
        return held

    def stranger(self, start: str, uid: str | None = None, minutes: int = 60) -> str:
        """Another program of the host's writes an event; where it stands."""
        uid = uid or f"stranger{next(names)}"
        begins = datetime.fromisoformat(start)
        times = [f"{one:%Y%m%dT%H%M%SZ}" for one in (begins, begins + timedelta(minutes=minutes))]
        at = next((href for href in self.hrefs() if uid in unquote(href)), f"{self.url}{uid}.ics")
        assert send("PUT", at, vevent(uid, *times))[0] in (201, 204)
        return at

    def ours(self) -> list[str]:
        """The ids of our events there."""
        found = texts_in(self.url, marker(self.account))
        return [one.split("UID:", 1)[1].split()[0].removesuffix("&#13;") for one in found]

    def starts(self) -> list[datetime]:
        """When our events there begin."""
        found = texts_in(self.url, marker(self.account))
        return [datetime.fromisoformat(one.split("DTSTART:", 1)[1][:16]) for one in found]

    def hrefs(self) -> list[str]:
        status, _, body = send("PROPFIND", self.url, Depth="1", Content_Type="application/xml")
        assert status == 207
        root = self.url.split("/", 3)
        paths = [one.split("</", 1)[0].split(">", 1)[1] for one in body.decode().split("<href")[1:]]
        paths += [one.split("</", 1)[0] for one in body.decode().split("<ns0:href>")[1:]]
        return ["/".join(root[:3]) + path for path in paths if path.endswith(".ics")]

    def take(self, uid: str) -> None:
        for href in self.hrefs():
            if uid in unquote(href):
                assert send("DELETE", href)[0] in (200, 204)

    def drag(self, uid: str, to: "Practice") -> None:
        """Into another calendar, as a host's own program does it."""
        [href] = [one for one in self.hrefs() if uid in unquote(one)]
        _, _, text = send("GET", href)
        assert send("PUT", f"{to.url}{uid}.ics", text)[0] in (201, 204)
        assert send("DELETE", href)[0] in (200, 204)

    def empty(self) -> None:
        for href in self.hrefs():
            assert send("DELETE", href)[0] in (200, 204)


async def practice(house: House, **policy: str) -> Practice:
    """One for each policy in a house; its connection is in order, and nothing stands in its calendar."""
    known: dict[str, Practice] = house.outside.practices
    if str(policy) not in known:
        known[str(policy)] = await _open(house, policy)
    return known[str(policy)]


async def new_calendar(house: House, email: str = "host@example.org") -> tuple[str, str, str]:
    """A host that is not connected yet; its calendar's name, and URL."""
    body = {"name": "Dr Calendar", "time_zone": "UTC", "schedule": HOURS, "email": email}
    host = (await house.ask("POST", "/v1/hosts", body))["id"]
    name = f"practice{next(names)}"
    return host, name, house.outside.caldav.make_calendar(name)


async def feed(house: House) -> Practice:
    """A new host whose calendar is a file at an address."""
    host, _, _ = await new_calendar(house)
    house.outside.door.feed = vevent("holiday", "20300101T000000Z", "20300102T000000Z")
    wish = {"host": host, "provider": "ics", "url": f"{house.outside.door.url}feed.ics"}
    made = await house.ask("POST", "/v1/calendar-connections", wish)
    await house.settle()
    return Practice(host, made["id"], "", "", "", {})


def with_an_old_copy(house: House, here: Practice, case: Any) -> Any:
    """The same process has read it before: by a listing, and by a reading. Then its publisher does not answer any more."""
    path = f"/v1/calendar-connections/{here.connection}"
    case.before = (("POST", f"{path}/sync", {}),)
    house.outside.door.faults = [("GET", "")] * 2
    house.outside.door.shut = "away"

    async def disconnect(house: House) -> None:
        await house.ask("DELETE", path)

    case.after = disconnect
    return case


def credentials(house: House) -> dict[str, str]:
    return {"url": house.outside.door.url, "username": NAME, "password": PASSWORD}


async def _open(house: House, policy: dict[str, str]) -> Practice:
    host, name, url = await new_calendar(house)
    wish = {"host": host, "provider": "caldav", "credentials": credentials(house)}
    made = await house.ask("POST", "/v1/calendar-connections", wish | policy)
    path = f"/v1/calendar-connections/{made['id']}"
    found = (await house.ask("GET", f"{path}/calendars"))["data"]
    mine = next(one["id"] for one in found if name in one["name"])
    await house.ask("PATCH", path, {"blocking": [mine], "destination": mine})
    await house.settle()
    account = await house.run(_account)
    return Practice(host, made["id"], mine, url, account, {})


async def _account(tx: Tx) -> str:
    found: str = await tx.value("select id from account where slug = 'test'")
    return found
