# SPDX-License-Identifier: Apache-2.0
"""A mailbox's calendars as Microsoft Graph shows them, in memory over HTTP. Form is judged by `graph_rules.py`; how it
behaves is by Microsoft's documents, and where they are silent by what people report:

- an id stays the same only for who sends `Prefer: IdType="ImmutableId"` (concepts/outlook-immutable-id)
- a `transactionId` is used once: the same creation again is the same event; another one is
  `ErrorDuplicateTransactionId`, with 400 or 409 (the reference names neither; both are seen in the wild)
- `@odata.etag` changes with each change, and `If-Match` with another one is 412 `ErrorIrresolvableConflict`
- delta tells what is out of its window as `@removed` (api/event-delta); an occurrence as nothing but its times
  (microsoft-graph-docs#7632); not that an occurrence was deleted (#4501); a token that is too old is 410
- a whole day is midnight to midnight, whatever zone is preferred (microsoft-graph-docs#1802)
- a filter by an extended property "is applied to all instances of the resource in the signed-in user's mailbox"
  (api/singlevaluelegacyextendedproperty-get), whatever calendar is named
- a mailbox answers few requests of an app at once, else 429 (concepts/throttling-limits)
- a subscription is promised once the address has echoed a token, within 10 s, as plain text and decoded; it lasts under
  10,080 minutes, and at least 45; what becomes of it is told to the same address (concepts/change-notifications-…)
- a refresh token is answered with another one (entra/identity-platform/refresh-tokens)
- a personal account (`personal`) signs in at /common or /consumers and nowhere else, its tokens are no JWT and are full of
  signs that an address does not bear (entra/identity-platform/access-tokens), its tenant is one for all of them, it has a
  calendar of birthdays that nobody edits, and nobody is told its owner's address; subscriptions to its events, deltas,
  extended properties and settings are as for others (the permission tables of each page name `Calendars.Read` and
  `MailboxSettings.Read` for both kinds), getSchedule is not
"""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import uvicorn

from .graph_rules import FILTER, Foul, check_event, check_query, check_subscription, instant, preferences

Json = dict[str, Any]
HOME, SHARED = "AAMkHome=", "AAMkShared/x="
ADDRESS = "Host@Example.org"
BIRTHDAYS = "AQMkADAwATM3ZmYAZS0xMjM0AAAIBBgAAAA=="
CONSUMERS = "9188040d-6c67-4c5b-b112-36a304b66dad"
SLIM = ("@odata.etag", "id", "seriesMasterId", "type", "start", "end")
WAITS = 1


class Refused(Exception):
    def __init__(self, status: int, code: str, **more: Any) -> None:
        super().__init__(code)
        self.status, self.code, self.more = status, code, more


class Cut(Exception):
    """The connection ends before there is an answer."""


@dataclass
class FakeGraph:
    """Knobs: `faults` (by method: a status, a wait in seconds as a float, "cut_before" or "cut_after", for the next
    calls), `latency`, `lag` (so many of the newest changes are told to nobody who lists), `revoked`, `personal`, `rotates`,
    `duplicate` (the status of a transaction id used twice), `remembers` (whether they are known at all), `stale` (what
    an old delta token is answered with, and from which change on), `tells` ("all" or "some" of a changed series),
    `bin_answers` (a deleted event can still be read by its name), `mailbox_wide` (whose events a filter finds); `call` (how an address is reached: what it answers
    to a POST), `lost_pushes`, `doubled_pushes` (so many of the next), `handshake_seconds`, `watchable` (calendars that subscriptions are made for), `now` (Microsoft's clock).

    `pushes`: what is on its way to whoever watches, as (address, body).
    """

    events: dict[str, Json] = field(default_factory=dict)
    read_only: set[str] = field(default_factory=set)
    time_zone: str | None = "Central Europe Standard Time"
    faults: dict[str, list[Any]] = field(default_factory=dict)
    latency: float = 0.0
    lag: int = 0
    revoked: bool = False
    personal: bool = False
    login_error: str | None = None
    rotates: bool = True
    forgets_used: bool = False
    duplicate: int = 409
    remembers: bool = True
    stale: tuple[int, str] = (410, "SyncStateNotFound")
    oldest: int = 0
    tells: str = "all"
    bin_answers: bool = False
    mailbox_wide: bool = True
    page_max: int = 1000
    clock: int = 0
    running: int = 0
    most: int = 0
    at_once_max: int = 4
    fouls: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    grants: set[str] = field(default_factory=lambda: {"M.refresh0"})
    access_tokens: set[str] = field(default_factory=set)
    transactions: dict[str, tuple[Json, str]] = field(default_factory=dict)
    challenge: str = ""
    url: str = ""
    call: Callable[[str, Json | None], Awaitable[tuple[int, str, str]]] | None = None
    handshake_seconds: float = 10.0
    watchable: set[str] = field(default_factory=lambda: {HOME, SHARED})
    subscriptions: dict[str, Json] = field(default_factory=dict)
    pushes: list[tuple[str, Json]] = field(default_factory=list)
    lost_pushes: int = 0
    doubled_pushes: int = 0
    names: Iterator[int] = field(default_factory=count)
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    # What a host does, and what a test looks at.

    def put(self, calendar: str, start: datetime, end: datetime, **more: Any) -> str:
        """As somebody else's program writes it; its id."""
        name = f"AAkAL{len(self.events)}/="
        self._save(name, _fresh(name, calendar) | {"start": _time(start), "end": _time(end)} | more)
        return name

    def put_series(self, calendar: str, spans: list[tuple[datetime, datetime]], **more: Any) -> str:
        name = self.put(calendar, *spans[0], type="seriesMaster", **more)
        self.events[name]["occurrences"] = {
            f"{name}.{number}": {"type": "occurrence", "start": _time(start), "end": _time(end)}
            for number, (start, end) in enumerate(spans)
        }
        return name

    def change(self, name: str, **members: Any) -> None:
        self._save(name, self.events[name] | members)

    def take(self, name: str) -> None:
        """Into the bin: the id stays, the calendar does not."""
        self._save(name, self.events[name] | {"calendar": None})

    def within(self, calendar: str) -> list[Json]:
        return [one for one in self.events.values() if one["calendar"] == calendar]

    def _save(self, name: str, event: Json) -> None:
        self.clock += 1
        key = f"ck{self.clock}"
        self.events[name] = event | {
            "changed": self.clock,
            "changeKey": key,
            "@odata.etag": f'W/"{key}"',
            "before": self.events.get(name, {}).get("calendar"),
        }
        for ref, one in self.subscriptions.items():
            if one["calendar"] in (event["calendar"], self.events[name]["before"]) and self._lives(one):
                self.tell(ref, changeType="updated", resource=f"Users/u/Events/{name}")

    def tell(self, ref: str, **news: Any) -> None:
        """A notification, in a batch of its own."""
        one = self.subscriptions[ref]
        said = {
            "subscriptionId": ref,
            "subscriptionExpirationDateTime": one["expirationDateTime"],
            "clientState": one["clientState"],
            "tenantId": CONSUMERS if self.personal else "84bd8158-6d4d-4958-8b9f-9d6445542f95",
        }
        if self.lost_pushes:
            self.lost_pushes -= 1
            return
        self.pushes += [(one["notificationUrl"], {"value": [said | news]})] * (
            2 if self.doubled_pushes else 1
        )
        self.doubled_pushes = max(0, self.doubled_pushes - 1)

    def _lives(self, one: Json) -> bool:
        return instant(one["expirationDateTime"]) > self.now()

    # Over HTTP.

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive()).get("more_body"):
            body += message["body"]
        body += message.get("body", b"")
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        path, query = scope["raw_path"].decode(), scope["query_string"].decode()
        status, told, more = await self._answer(scope["method"], path, query, headers, body)
        content = b"" if told is None else json.dumps(told).encode()
        if status == 0:
            # Less than was promised: the client sees the connection end.
            content, status, more = b"{", 200, {"content-length": "99"}
        sent = {"content-type": "application/json", "content-length": str(len(content))} | more
        start = [(name.encode(), value.encode()) for name, value in sent.items()]
        await send({"type": "http.response.start", "status": status, "headers": start})
        await send({"type": "http.response.body", "body": content})

    async def _answer(
        self, method: str, path: str, query: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, Json | None, dict[str, str]]:
        if path.endswith("/oauth2/v2.0/token"):
            return (*self._token(path.split("/")[1], dict(parse_qsl(body.decode()))), {})
        self.asked.append(f"{method} {unquote(path)}")
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.running > self.at_once_max:
                return 429, _error("ApplicationThrottled", "MailboxConcurrency"), {"retry-after": str(WAITS)}
            await asyncio.sleep(self.latency)
            fault = self.faults[method].pop(0) if self.faults.get(method) else None
            if isinstance(fault, float):
                return 429, _error("TooManyRequests"), {"retry-after": str(int(fault))}
            if isinstance(fault, int):
                return fault, _error("ServiceUnavailable"), {}
            if fault == "cut_before":
                return 0, None, {}
            status, told = await self._judged(method, path.removeprefix("/v1.0"), query, headers, body)
            return (0 if fault == "cut_after" else status), told, {}
        finally:
            self.running -= 1

    async def _judged(self, *asked: Any) -> tuple[int, Json | None]:
        try:
            if asked[1].startswith("/subscriptions"):
                return await self._watch(asked[0], asked[1].split("/")[2:], asked[3], asked[4])
            return self._done(*asked)
        except Foul as foul:
            self.fouls.append(str(foul))
            return 400, _error("RequestBodyRead", str(foul))
        except Refused as refused:
            return refused.status, _error(refused.code, refused.code, **refused.more)

    def _token(self, tenant: str, form: dict[str, str]) -> tuple[int, Json]:
        if self.personal and tenant not in ("common", "consumers"):
            said = "AADSTS50020: User account from identity provider 'live.com' does not exist in tenant"
            return 400, {"error": "invalid_grant", "error_description": said}
        if self.login_error is not None:
            return 401, {"error": self.login_error, "error_description": "AADSTS7000222: the secret ran out"}
        assert form["client_id"] == "client" and form["client_secret"] == "secret", form
        if form["grant_type"] == "authorization_code":
            made = hashlib.sha256(form["code_verifier"].encode()).digest()
            fits = base64.urlsafe_b64encode(made).rstrip(b"=").decode() == self.challenge
            if form["code"] != "good" or not fits:
                return 400, {"error": "invalid_grant", "error_description": "AADSTS70008: expired"}
        elif self.revoked or form["refresh_token"] not in self.grants:
            return 400, {"error": "invalid_grant", "error_description": "AADSTS50173: revoked"}
        elif self.forgets_used:
            self.grants.discard(form["refresh_token"])
        access = f"{'EwB4A8l6BAAU/+=' if self.personal else 'access'}{next(self.names)}"
        self.access_tokens.add(access)
        told = {
            "token_type": "Bearer",
            "access_token": access,
            "expires_in": 3599,
            "scope": "Calendars.ReadWrite",
        }
        if self.rotates:
            told["refresh_token"] = f"M.{'C5_BL2.-Cq!*$' if self.personal else 'refresh'}-{next(self.names)}"
            self.grants.add(str(told["refresh_token"]))
        return 200, told

    def _done(
        self, method: str, path: str, query_string: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, Json | None]:
        self._authorized(headers)
        query = dict(parse_qsl(query_string))
        wishes = preferences(headers.get("prefer", ""))
        if wishes.get("outlook.timezone", "UTC") != "UTC":
            raise Foul("this mailbox is asked in UTC")
        parts = [unquote(one) for one in path.strip("/").split("/")]
        content = json.loads(body) if body else None
        match [method, *parts]:
            case ["GET", "me", "calendars"]:
                check_query("calendars", query)
                return 200, self._page([self._calendar(one) for one in self._names()], query, wishes, path)
            case ["GET", "me", "mailboxSettings"]:
                check_query("mailboxSettings", query)
                if self.time_zone is None:
                    raise Refused(403, "ErrorAccessDenied")
                return 200, {"timeZone": self.time_zone}
            case [_, "me", "calendars", calendar, *_] if calendar not in self._names():
                raise Refused(404, "ErrorItemNotFound")
            case ["GET", "me", "calendars", calendar, "calendarView"]:
                check_query("calendarView", query)
                return 200, self._page(self._view(calendar, query, wishes), query, wishes, path)
            case ["GET", "me", "calendars", calendar, "calendarView", "delta"]:
                check_query("delta", query)
                return 200, self._delta(calendar, query, wishes, path)
            case ["GET", "me", "calendars", calendar, "events"]:
                check_query("events", query)
                return 200, self._page(self._found(calendar, query, wishes), query, wishes, path)
            case ["POST", "me", "calendars", calendar, "events"]:
                return 201, self._shown(self._create(calendar, content), wishes)
            case ["GET", "me", "calendars", calendar, "events", name, "instances"]:
                check_query("instances", query)
                master = self._event(calendar, name)
                found = [
                    self._shown(one, wishes, query) for one in self._occurrences(master) if _in(one, query)
                ]
                return 200, self._page(found, query, wishes, path)
            case [_, "me", "calendars", calendar, "events", name]:
                return self._one(method, self._event(calendar, name), content, headers)
        raise Refused(400, "BadRequest")

    def _authorized(self, headers: dict[str, str]) -> None:
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.access_tokens:
            raise Refused(401, "InvalidAuthenticationToken")

    async def _watch(
        self, method: str, named: list[str], headers: dict[str, str], body: bytes
    ) -> tuple[int, Json | None]:
        self._authorized(headers)
        content = json.loads(body) if body else None
        if method == "POST":
            check_subscription(content)
            calendar = content["resource"].split("/", 2)[2].rpartition("/")[0]
            if calendar not in self.watchable:
                raise Refused(403, "ExtensionError")
            until = self._until(content)
            for address in (content["notificationUrl"], content["lifecycleNotificationUrl"]):
                await self._shake_hands(address)
            ref = f"sub-{next(self.names)}"
            self.subscriptions[ref] = content | {"calendar": calendar, "expirationDateTime": until}
            return 201, content | {"id": ref, "expirationDateTime": until}
        [ref] = named
        if ref not in self.subscriptions or not self._lives(self.subscriptions[ref]):
            raise Refused(404, "ResourceNotFound")
        if method == "DELETE":
            del self.subscriptions[ref]
            return 204, None
        if set(content) != {"expirationDateTime"}:
            raise Foul("of a subscription only its end can be changed")
        self.subscriptions[ref] |= {"expirationDateTime": self._until(content)}
        return 200, {"id": ref, "expirationDateTime": self.subscriptions[ref]["expirationDateTime"]}

    def _until(self, content: Json) -> str:
        now, wanted = self.now(), instant(content["expirationDateTime"])
        if wanted > now + timedelta(minutes=10_080):
            raise Refused(400, "InvalidRequest")
        return max(wanted, now + timedelta(minutes=45)).strftime("%Y-%m-%dT%H:%M:%S.0000000Z")

    async def _shake_hands(self, address: str) -> None:
        token = "Validation: Testing client application reachability for subscription é+/="
        if self.call is None:
            raise Refused(400, "ValidationError")
        try:
            async with asyncio.timeout(self.handshake_seconds):
                told = await self.call(f"{address}?validationToken={quote(token, safe='')}", None)
        except TimeoutError:
            raise Refused(400, "ValidationError") from None
        if told[0] != 200 or not told[1].startswith("text/plain") or told[2] != token:
            raise Refused(400, "ValidationError")

    def _one(self, method: str, event: Json, body: Any, headers: dict[str, str]) -> tuple[int, Json | None]:
        wishes = preferences(headers.get("prefer", ""))
        if method == "GET":
            return 200, self._shown(event, wishes)
        if event["calendar"] in self.read_only:
            raise Refused(403, "ErrorAccessDenied")
        wanted = headers.get("if-match")
        if wanted not in (None, "*", event["@odata.etag"]):
            raise Refused(412, "ErrorIrresolvableConflict")
        if method == "DELETE":
            self.take(event["id"])
            return 204, None
        check_event(body, creating=False)
        self.change(event["id"], **body)
        return 200, self._shown(self.events[event["id"]], wishes)

    def _create(self, calendar: str, body: Any) -> Json:
        check_event(body, creating=True)
        if calendar in self.read_only:
            raise Refused(403, "ErrorAccessDenied")
        transaction = body.get("transactionId")
        if transaction in self.transactions and self.remembers:
            before, name = self.transactions[transaction]
            if before != body or self.events[name]["calendar"] is None:
                raise Refused(self.duplicate, "ErrorDuplicateTransactionId")
            return self.events[name]
        extended = body.get("singleValueExtendedProperties", ())
        members = {name: value for name, value in body.items() if name not in ("start", "end")}
        members.pop("singleValueExtendedProperties", None)
        name = self.put(calendar, _edge(body["start"]), _edge(body["end"]), **members)
        self.events[name]["extended"] = {one["id"]: one["value"] for one in extended}
        if transaction is not None:
            self.transactions[transaction] = (body, name)
        return self.events[name]

    def _names(self) -> tuple[str, ...]:
        return (BIRTHDAYS, HOME) if self.personal else (SHARED, HOME)

    def _calendar(self, calendar: str) -> Json:
        return {
            "id": calendar,
            "name": {HOME: "Calendar", SHARED: "Team", BIRTHDAYS: "Birthdays"}[calendar],
            "canEdit": calendar not in {BIRTHDAYS, *self.read_only},
            "isDefaultCalendar": calendar == HOME,
            "owner": {"name": "Host"} if self.personal else {"name": "Host", "address": ADDRESS},
        }

    def _event(self, calendar: str, name: str) -> Json:
        for event in self.events.values():
            if name in (event["id"], _mutable(event)) and (
                event["calendar"] == calendar or (self.bin_answers and event["calendar"] is None)
            ):
                return event
        raise Refused(404, "ErrorItemNotFound")

    def _visible(self, calendar: str) -> list[Json]:
        return [
            one
            for one in self.events.values()
            if one["calendar"] == calendar and one["changed"] <= self.clock - self.lag
        ]

    def _occurrences(self, master: Json) -> list[Json]:
        return [
            master | one | {"id": name, "seriesMasterId": master["id"]}
            for name, one in master.get("occurrences", {}).items()
        ]

    def _view(self, calendar: str, query: dict[str, str], wishes: dict[str, str]) -> list[Json]:
        found: list[Json] = []
        for one in self._visible(calendar):
            found += self._occurrences(one) if one["type"] == "seriesMaster" else [one]
        return [self._shown(one, wishes, query) for one in found if _in(one, query)]

    def _found(self, calendar: str, query: dict[str, str], wishes: dict[str, str]) -> list[Json]:
        wish = FILTER.fullmatch(query["$filter"]) if "$filter" in query else None
        found = []
        everywhere = [one for one in self._names() if self.mailbox_wide and wish]
        for one in [found for name in everywhere or [calendar] for found in self._visible(name)]:
            value = one["extended"].get(wish["id"], "") if wish else ""
            # "Filtering the value property of an extended property is case-insensitive."
            if wish is None or (
                value.lower() == wish["eq"].lower()
                if wish["eq"] is not None
                else value and value.lower().startswith(wish["startswith"].lower())
            ):
                found.append(self._shown(one, wishes, query))
        return found

    def _delta(self, calendar: str, query: dict[str, str], wishes: dict[str, str], path: str) -> Json:
        state = query.get("$deltatoken") or query.get("$skiptoken")
        if state is None:
            state = json.dumps([query["startDateTime"], query["endDateTime"], -1, 0, self.clock - self.lag])
        try:
            start, end, since, first, until = json.loads(state)
        except ValueError:
            raise Refused(*self.stale) from None
        if "$deltatoken" in query:
            until = self.clock - self.lag
            if since < self.oldest:
                raise Refused(*self.stale)
        bounds = {"startDateTime": start, "endDateTime": end}
        told = self._told(calendar, bounds, since, until, wishes)
        size = min(int(wishes.get("odata.maxpagesize", "10")), self.page_max)
        page: Json = {"value": told[first : first + size]}
        if first + size < len(told):
            page["@odata.nextLink"] = self._link(path, "$skiptoken", [start, end, since, first + size, until])
        else:
            page["@odata.deltaLink"] = self._link(path, "$deltatoken", [start, end, until, 0, until])
        return page

    def _told(
        self, calendar: str, bounds: dict[str, str], since: int, until: int, wishes: dict[str, str]
    ) -> list[Json]:
        told: list[Json] = []
        for one in self.events.values():
            if not since < one["changed"] <= until or calendar not in (one["calendar"], one["before"]):
                continue
            if one["type"] == "seriesMaster" and one["calendar"] == calendar:
                series = [part for part in self._occurrences(one) if _in(part, bounds)]
                full = since < 0 or self.tells == "all"
                told += [self._shown(one, wishes)] if full else []
                for part in series if full else series[:1]:
                    shown = self._shown(part, wishes)
                    slim = part["type"] == "occurrence"
                    told.append({name: shown[name] for name in SLIM} if slim else shown)
            elif one["calendar"] == calendar and _in(one, bounds):
                told.append(self._shown(one, wishes))
            elif since >= 0:
                told.append({"id": self._name(one, wishes), "@removed": {"reason": "deleted"}})
        return told

    def _shown(self, event: Json, wishes: dict[str, str], query: dict[str, str] | None = None) -> Json:
        hidden = ("calendar", "changed", "before", "extended", "occurrences")
        shown = {name: value for name, value in event.items() if name not in hidden}
        shown["id"] = self._name(event, wishes)
        if wishes.get("outlook.body-content-type") != "text":
            shown["body"] = {"contentType": "html", "content": f"<html>{shown['body']['content']}</html>"}
        wanted = (query or {}).get("$select")
        if wanted is not None:
            kept = {"@odata.etag", "id", *wanted.split(",")}
            shown = {name: value for name, value in shown.items() if name in kept}
        return shown

    def _name(self, event: Json, wishes: dict[str, str]) -> str:
        return str(event["id"]) if wishes.get("idtype") == "ImmutableId" else _mutable(event)

    def _page(self, items: list[Json], query: dict[str, str], wishes: dict[str, str], path: str) -> Json:
        """Ten where nothing else is asked for."""
        first, size = int(query.get("$skip", "0")), min(int(query.get("$top", "10")), self.page_max)
        told: Json = {"value": items[first : first + size]}
        if first + size < len(items):
            onward = query | {"$skip": str(first + size)}
            parts = "&".join(f"{name}={quote(value, safe='')}" for name, value in onward.items())
            told["@odata.nextLink"] = f"{self.url}/v1.0{path}?{parts}"
        return told

    def _link(self, path: str, name: str, state: list[Any]) -> str:
        return f"{self.url}/v1.0{path}?{name}={quote(json.dumps(state), safe='')}"


def _fresh(name: str, calendar: str) -> Json:
    return {
        "id": name,
        "calendar": calendar,
        "extended": {},
        "transactionId": None,
        "subject": "dentist",
        "body": {"contentType": "text", "content": ""},
        "location": {"displayName": ""},
        "isAllDay": False,
        "isCancelled": False,
        "showAs": "busy",
        "sensitivity": "normal",
        "isReminderOn": True,
        "responseStatus": {"response": "organizer", "time": "0001-01-01T00:00:00Z"},
        "type": "singleInstance",
        "seriesMasterId": None,
    }


def _mutable(event: Json) -> str:
    return f"AAMk{event['calendar']}{event['id']}"


def _time(instant_: datetime) -> Json:
    return {"dateTime": instant_.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.0000000"), "timeZone": "UTC"}


def _edge(when: Json) -> datetime:
    return datetime.fromisoformat(when["dateTime"]).replace(tzinfo=UTC)


def _in(event: Json, query: dict[str, str]) -> bool:
    """A whole day is judged as it is kept: in the mailbox's own zone, some hours off."""
    late = timedelta(hours=1) if event["isAllDay"] else timedelta(0)
    start, end = _edge(event["start"]) - late, _edge(event["end"]) - late
    return start < instant(query["endDateTime"]) and end > instant(query["startDateTime"])


def _error(code: str, message: str = "", **more: Any) -> Json:
    return {"error": {"code": code, "message": message or code, **more}}


@asynccontextmanager
async def serving(graph: FakeGraph) -> AsyncIterator[FakeGraph]:
    config = uvicorn.Config(graph, host="127.0.0.1", port=0, log_level="error", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    # Without `serve`, which would take this process's signals.
    running = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.005)
    graph.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield graph
    finally:
        server.should_exit = True
        await running
