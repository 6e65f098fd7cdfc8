# SPDX-License-Identifier: Apache-2.0
"""A Google Calendar in memory over HTTP. Google's own description is its referee for form; how it behaves is by what
Google's documents and its users say: a deleted id stays taken (409), a second deletion is 410, an old sync token is 410,
what may not stand beside a sync token is 400, `nextSyncToken` is on the last page alone, 412 where an etag is old.
Channels are never lengthened, each id is used once, and what they say stands in headers: `sync` first, then `exists`.
"""

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from .discovery import Foul, check, check_query, route

ID = re.compile(r"^[0-9a-v]{5,1024}$")
NOT_WITH_TOKEN = {
    "iCalUID", "orderBy", "privateExtendedProperty", "q", "sharedExtendedProperty", "timeMin", "timeMax", "updatedMin",
}  # fmt: skip
REFRESH = "1//refresh"
CUT = 0
WRITES = ("calendar.events.insert", "calendar.events.patch", "calendar.events.delete")


class Refused(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass
class FakeGoogle:
    """`calendars`: id → event id → event. Knobs: `faults` (for the next calls: a status, a reason of Google's for a 403,
    "cut_before" or "cut_after", as the connection ends before it was done, or after), `login_error`, `latency`, `lag` (so many of the newest changes are told to nobody who
    lists), `revoked`, `retry_after`, `page_max`, `oldest`;
    `lost_pushes`, `doubled_pushes` (so many of the next), `lasts_max` (the longest channel, in seconds), `uncallable`
    (addresses that Google does not call).

    `pushes`: what is on its way to whoever watches, as (address, headers); `deliver` sends it.
    """

    calendars: dict[str, dict[str, dict[str, Any]]] = field(
        default_factory=lambda: {"host@example.org": {}, "shared@group.calendar.google.com": {}}
    )
    roles: dict[str, str] = field(default_factory=dict)
    time_zone: str = "Europe/Prague"
    clock: int = 0
    oldest: int = 0
    page_max: int = 2500
    faults: list[Any] = field(default_factory=list)
    latency: float = 0.0
    lag: int = 0
    revoked: bool = False
    login_error: tuple[int, str] | None = None
    access_tokens: set[str] = field(default_factory=set)
    fouls: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    url: str = ""
    challenge: str = ""
    channels: dict[str, dict[str, Any]] = field(default_factory=dict)
    used_channels: set[str] = field(default_factory=set)
    pushes: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    lost_pushes: int = 0
    doubled_pushes: int = 0
    lasts_max: int = 30 * 86_400
    uncallable: str = "uncallable"
    lock: Any = field(default_factory=threading.RLock)
    retry_after: str | None = None
    unlisted: set[str] = field(default_factory=set)
    robot_claims: dict[str, Any] = field(default_factory=dict)
    public_key: Any = None
    """Of the one service account that is known, `robot@project.example`; it may act for HOST's domain."""

    def put(self, calendar: str, event_id: str, **members: Any) -> dict[str, Any]:
        """As somebody else's program writes it."""
        self.clock += 1
        before = self.calendars[calendar].get(event_id, {})
        event = before | {"kind": "calendar#event", "id": event_id, "status": "confirmed"} | members
        event |= {"etag": f'"{self.clock}"', "iCalUID": f"{event_id}@google.com", "sequence": self.clock}
        self.calendars[calendar][event_id] = event
        for channel in self.channels.values():
            if channel["calendar"] == calendar and channel["expiration"] > time.time() * 1000:
                self._push(channel, "exists")
        return event

    def _push(self, channel: dict[str, Any], state: str) -> None:
        channel["number"] += 1
        told = {
            "X-Goog-Channel-ID": channel["id"],
            "X-Goog-Message-Number": str(channel["number"]),
            "X-Goog-Resource-ID": channel["resource"],
            "X-Goog-Resource-State": state,
            "X-Goog-Resource-URI": f"{self.url}/calendar/v3/calendars/{channel['calendar']}/events?alt=json",
            "X-Goog-Channel-Expiration": formatdate(channel["expiration"] / 1000, usegmt=True),
        }
        if channel["token"] is not None:
            told["X-Goog-Channel-Token"] = channel["token"]
        with self.lock:
            if self.lost_pushes:
                self.lost_pushes -= 1
                return
            self.pushes += [(channel["address"], told)] * (2 if self.doubled_pushes else 1)
            self.doubled_pushes = max(0, self.doubled_pushes - 1)

    def take(self, calendar: str, event_id: str) -> None:
        self.put(calendar, event_id, status="cancelled")

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> tuple[int, Any]:
        parts = urlsplit(target)
        if parts.path == "/token":
            return self._token(parse_qs(body.decode()))
        self.asked.append(f"{method} {parts.path}")
        time.sleep(self.latency)
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            return fault, _error(fault, "rateLimitExceeded" if fault == 403 else "backendError")
        if fault == "cut_before":
            return CUT, None
        if fault not in (None, "cut_after"):
            return 403, _error(403, fault)
        status, told = self._judged(method, parts, headers, body)
        return (CUT if fault == "cut_after" else status), told

    def _judged(self, method: str, parts: SplitResult, headers: Any, body: bytes) -> tuple[int, Any]:
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.access_tokens:
            return 401, _error(401, "authError")
        path = parts.path.removeprefix("/calendar/v3")
        try:
            known, names = route(method, path)
            query = parse_qs(parts.query, keep_blank_values=True)
            check_query(known, query)
            content = json.loads(body) if body else None
            if content is not None:
                check(known["request"], content, known["id"])
            names = {name: unquote(value) for name, value in names.items()}
            status, told = self._done(known["id"], names, query, content, headers)
            if told is not None and "response" in known:
                check(known["response"], told, f"{known['id']} answered")
        except Foul as foul:
            self.fouls.append(str(foul))
            return 400, _error(400, str(foul))
        except Refused as refused:
            return refused.status, _error(refused.status, refused.reason)
        return status, told

    def _token(self, form: dict[str, list[str]]) -> tuple[int, Any]:
        if self.login_error is not None:
            return self.login_error[0], {"error": self.login_error[1], "error_description": "Unauthorized"}
        if form.get("grant_type") == ["authorization_code"]:
            digest = hashlib.sha256(form["code_verifier"][0].encode()).digest()
            made = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if form["code"] != ["good"] or made != self.challenge:
                return 400, {"error": "invalid_grant"}
            return 200, {"access_token": "x", "refresh_token": REFRESH, "expires_in": 3599}
        if form.get("grant_type") == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]:
            return self._robot(form["assertion"][0])
        if self.revoked or form.get("refresh_token") != [REFRESH] or form.get("client_id") != ["client"]:
            return 400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
        token = f"access{len(self.access_tokens)}"
        self.access_tokens.add(token)
        return 200, {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}

    def _robot(self, assertion: str) -> tuple[int, Any]:
        """RFC 7523, as Google reads it."""
        head, claims, signature = (base64.urlsafe_b64decode(one + "==") for one in assertion.split("."))
        told = json.loads(claims)
        try:
            assert json.loads(head) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
            assert (told["iss"], told["aud"]) == ("robot@project.example", f"{self.url}/token")
            assert told["iat"] <= time.time() < told["exp"] <= told["iat"] + 3600
            assert told.get("sub", "@example.org").endswith("@example.org")
            signed = assertion.rpartition(".")[0].encode()
            self.public_key.verify(signature, signed, PKCS1v15(), SHA256())
        except (AssertionError, InvalidSignature):
            return 400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        self.robot_claims = told
        token = f"access{len(self.access_tokens)}"
        self.access_tokens.add(token)
        return 200, {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}

    def _done(
        self, what: str, names: dict[str, str], query: dict[str, list[str]], body: Any, headers: Any
    ) -> tuple[int, Any]:
        if what in WRITES and self.roles.get(names["calendarId"]) == "reader":
            raise Refused(403, "requiredAccessLevel")
        match what:
            case "calendar.calendarList.list":
                return 200, {
                    "kind": "calendar#calendarList",
                    "items": [self._entry(one) for one in self.calendars if one not in self.unlisted],
                }
            case "calendar.calendarList.insert":
                if body["id"] not in self.calendars:
                    raise Refused(404, "notFound")
                self.unlisted.discard(body["id"])
                return 200, {"kind": "calendar#calendarListEntry"} | self._entry(body["id"])
            case "calendar.events.list":
                return 200, self._list(self._calendar(names), query)
            case "calendar.events.insert":
                return 200, self._insert(names["calendarId"], self._calendar(names), body)
            case "calendar.events.get":
                return 200, self._event(names)
            case "calendar.events.patch":
                event = self._event(names)
                self._match(event, headers)
                return 200, self.put(names["calendarId"], event["id"], **body)
            case "calendar.events.delete":
                event = self._event(names)
                if event["status"] == "cancelled":
                    raise Refused(410, "deleted")
                self._match(event, headers)
                self.take(names["calendarId"], event["id"])
                return 204, None
            case "calendar.events.watch":
                self._calendar(names)
                return 200, self._watch(names["calendarId"], body)
            case "calendar.channels.stop":
                channel = self.channels.get(body["id"])
                if channel is None or channel["resource"] != body.get("resourceId"):
                    raise Refused(404, "channelUnknown")
                del self.channels[body["id"]]
                return 204, None
            case _:
                raise Refused(501, "not here")

    def _watch(self, calendar: str, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("type") not in ("web_hook", "webhook"):
            raise Refused(400, "unknownChannelType")
        if not re.fullmatch(r"[A-Za-z0-9\-_+/=]{1,64}", body["id"]):
            raise Refused(400, "channelIdInvalid")
        if body["id"] in self.used_channels:
            raise Refused(400, "channelIdNotUnique")
        if not body["address"].startswith("https://"):
            raise Refused(400, "push.webhookUrlNotHttps")
        if self.uncallable in body["address"]:
            raise Refused(401, "push.webhookUrlUnauthorized")
        if len(body.get("token", "")) > 256:
            raise Refused(400, "invalid")
        now = int(time.time() * 1000)
        wanted = int(body.get("expiration", now + 604_800_000))
        channel = {
            "id": body["id"],
            "calendar": calendar,
            "address": body["address"],
            "token": body.get("token"),
            "resource": f"r{hashlib.sha256(calendar.encode()).hexdigest()[:12]}",
            "expiration": min(wanted, now + self.lasts_max * 1000),
            "number": 0,
        }
        self.channels[body["id"]] = channel
        self.used_channels.add(body["id"])
        self._push(channel, "sync")
        return {
            "kind": "api#channel",
            "id": channel["id"],
            "resourceId": channel["resource"],
            "resourceUri": f"{self.url}/calendar/v3/calendars/{calendar}/events?alt=json",
            "expiration": str(channel["expiration"]),
        } | ({"token": channel["token"]} if channel["token"] else {})

    def _entry(self, calendar: str) -> dict[str, Any]:
        role = self.roles.get(calendar, "owner")
        return {"id": calendar, "summary": calendar, "timeZone": self.time_zone, "accessRole": role}

    def _calendar(self, names: dict[str, str]) -> dict[str, dict[str, Any]]:
        if names["calendarId"] not in self.calendars:
            raise Refused(404, "notFound")
        return self.calendars[names["calendarId"]]

    def _event(self, names: dict[str, str]) -> dict[str, Any]:
        event = self._calendar(names).get(names["eventId"])
        if event is None:
            raise Refused(404, "notFound")
        return event

    def _match(self, event: dict[str, Any], headers: Any) -> None:
        wanted = headers.get("if-match")
        if wanted not in (None, "*", event["etag"]):
            raise Refused(412, "conditionNotMet")

    def _insert(self, name: str, calendar: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        event_id = body.get("id", f"g{self.clock}event")
        if not ID.match(event_id):
            raise Refused(400, "invalid")
        if event_id in calendar:
            raise Refused(409, "duplicate")
        return self.put(name, event_id, **{"status": "confirmed"} | body)

    def _list(self, calendar: dict[str, Any], query: dict[str, list[str]]) -> dict[str, Any]:
        token = query.get("syncToken", [None])[0]
        since = None
        if token is not None:
            if NOT_WITH_TOKEN & set(query):
                raise Refused(400, "invalid")
            since = int(token.removeprefix("s"))
            if since < self.oldest:
                raise Refused(410, "fullSyncRequired")
        until = self.clock - self.lag
        items = [
            one for one in calendar.values() if one["sequence"] <= until and self._wanted(one, query, since)
        ]
        first = int(query.get("pageToken", ["0"])[0])
        size = min(int(query.get("maxResults", ["250"])[0]), self.page_max)
        told: dict[str, Any] = {
            "kind": "calendar#events",
            "timeZone": self.time_zone,
            "items": items[first : first + size],
        }
        if first + size < len(items):
            told["nextPageToken"] = str(first + size)
        elif not {"privateExtendedProperty", "q", "orderBy"} & set(query):
            told["nextSyncToken"] = f"s{until}"
        return told

    def _wanted(self, event: dict[str, Any], query: dict[str, list[str]], since: int | None) -> bool:
        if since is not None:
            return event["sequence"] > since
        if event["status"] == "cancelled" and query.get("showDeleted") != ["true"]:
            return False
        for wish in query.get("privateExtendedProperty", ()):
            name, _, value = wish.partition("=")
            if event.get("extendedProperties", {}).get("private", {}).get(name) != value:
                return False
        start, end = _edge(event["start"]), _edge(event["end"])
        least, most = query.get("timeMin"), query.get("timeMax")
        return not (
            (least and end <= datetime.fromisoformat(least[0]))
            or (most and start >= datetime.fromisoformat(most[0]))
        )


def _edge(when: dict[str, str]) -> datetime:
    if "dateTime" in when:
        return datetime.fromisoformat(when["dateTime"])
    return datetime.fromisoformat(when["date"]).replace(tzinfo=UTC)


def _error(status: int, reason: str) -> dict[str, Any]:
    domain = "usageLimits" if reason.endswith("Exceeded") or reason == "accessNotConfigured" else "global"
    one = {"domain": domain, "reason": reason, "message": reason}
    return {"error": {"code": status, "message": reason, "errors": [one]}}


@contextmanager
def serving(google: FakeGoogle) -> Iterator[FakeGoogle]:
    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, told = google.answer(self.command, self.path, self.headers, body)
            if status == CUT:
                self.close_connection = True
                return
            content = b"" if told is None else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if status in (403, 429) and google.retry_after is not None:
                self.send_header("Retry-After", google.retry_after)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve  # noqa: N815

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    google.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield google
    finally:
        server.shutdown()
        server.server_close()
