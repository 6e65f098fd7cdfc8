# SPDX-License-Identifier: Apache-2.0
"""Microsoft's promises to call us (Graph's subscriptions): asked for, lengthened, ended, and what a call says.

Graph asks an address whether it is ours before it promises anything, and tells the same address what becomes of the promise.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from holdfirst.calendar.provider import CannotWatch, Handshake, Place, Push, PushKind, WantedWatch, Watch
from holdfirst.clock import wall
from holdfirst.payment.provider import Notification
from holdfirst.providers.microsoft.graph import Graph, Json, readable, refusal

LASTS_MAX = timedelta(minutes=10_080) - timedelta(minutes=5)
"""Of a subscription to events, whose reference says "under seven days"; and our clock is not theirs."""
GONE = (404, 410)
_KINDS = {"reauthorizationRequired": PushKind.RENEW, "subscriptionRemoved": PushKind.ENDED}


class Told(msgspec.Struct, frozen=True, rename="camel"):
    """One notification; `lifecycle_event` where it is about the subscription itself."""

    subscription_id: str
    client_state: str
    lifecycle_event: str | None = None


class Batch(msgspec.Struct, frozen=True):
    value: Sequence[Told]


async def watch(graph: Graph, place: Place, wanted: WantedWatch) -> Watch:
    """Whoever shared a calendar with this mailbox is not asked: Graph watches a mailbox's own alone, and says so."""
    body = {
        "changeType": "created,updated,deleted",
        "notificationUrl": wanted.address,
        "lifecycleNotificationUrl": wanted.address,
        "resource": f"me/calendars/{place.ref}/events",
        "expirationDateTime": _until(wanted.until),
        "clientState": wanted.secret,
    }
    answer = await graph.ask(place.access, "POST", "/subscriptions", body)
    if answer.status != 201:
        raise CannotWatch(str(refusal(answer)))
    return _granted(readable(answer), reached=True)


async def renew(graph: Graph, place: Place, known: Watch, until: datetime) -> Watch | None:
    """Which is also what Graph wants to hear where it asks for a new authorisation."""
    body = {"expirationDateTime": _until(until)}
    answer = await graph.ask(place.access, "PATCH", f"/subscriptions/{known.ref}", body)
    return _granted(readable(answer), reached=False) if answer.status == 200 else None


async def unwatch(graph: Graph, place: Place, known: Watch) -> None:
    answer = await graph.ask(place.access, "DELETE", f"/subscriptions/{known.ref}")
    if answer.status not in (200, 204, *GONE):
        raise CannotWatch(str(refusal(answer)))


def read_push(notification: Notification) -> Handshake | Sequence[Push]:
    """A token to be echoed, or a batch. That calls were missed is a reason to read like any change."""
    if "validationToken" in notification.query:
        return Handshake(notification.query["validationToken"])
    told = msgspec.json.decode(notification.body, type=Batch).value
    return [
        Push(
            kind=_KINDS.get(one.lifecycle_event or "", PushKind.CHANGED),
            secret=one.client_state,
            ref=one.subscription_id,
        )
        for one in told
    ]


def _until(wanted: datetime) -> str:
    latest = datetime.fromtimestamp(wall(), UTC) + LASTS_MAX
    return min(wanted.astimezone(UTC), latest).strftime("%Y-%m-%dT%H:%M:%SZ")


def _granted(told: Json, *, reached: bool) -> Watch:
    until = datetime.fromisoformat(str(told["expirationDateTime"]))
    return Watch(ref=str(told["id"]), until=until, reached=reached)
