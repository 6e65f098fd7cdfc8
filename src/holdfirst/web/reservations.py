# SPDX-License-Identifier: Apache-2.0
"""`/v1/reservations`: hold a slot, look at it, add to it, list what there is."""

from functools import partial
from typing import Any

from litestar.types import Scope

from holdfirst.effects.reserve import reserve
from holdfirst.flows.change import Details as GivenDetails
from holdfirst.flows.change import set_details
from holdfirst.flows.keyed import Replay
from holdfirst.flows.reserve import ReserveRequest
from holdfirst.interval import whole_ms
from holdfirst.refusal import Code, Refusal
from holdfirst.reservation import lifecycle
from holdfirst.store import catalog, payments, reservations
from holdfirst.store.database import Tx
from holdfirst.web import paging
from holdfirst.web.address import client_address
from holdfirst.web.answers import Page, ReservationAnswer
from holdfirst.web.asker import Kind
from holdfirst.web.hosts import REPLAYED
from holdfirst.web.operation import HOLDERS, READERS, SECRET, Answer, Call, Operation
from holdfirst.web.problems import Problem, refuse
from holdfirst.web.requests import Details, ReservationQuery, Reserve, check_details, check_instants
from holdfirst.web.reservation_view import Seen, answer_about, answer_of, no_other_account


async def reserve_slot(call: Call) -> Answer:
    body: Reserve = call.body
    publishable = call.who.kind is Kind.PUBLISHABLE
    if body.outside_rules and publishable:
        raise refuse(Code.FORBIDDEN_FOR_KEY, "outside_rules is for a secret key.")
    check_instants(start=body.start)
    check_details(body)
    customer = {name: value for name, value in _customer(body).items() if value is not None}
    request = ReserveRequest(
        account_id=call.who.account_id,
        event_type=body.event_type,
        start=whole_ms(body.start),
        seats=body.seats,
        host_id=body.host,
        customer=customer,
        guests=body.guests or (),
        answers={name: value for name, value in (body.answers or {}).items() if value is not None},
        metadata=body.metadata or {},
        hold_seconds=body.hold_seconds,
        outside_rules=body.outside_rules,
        by_publishable_key=publishable,
        holder_address=_address_digest(call, call.scope) if publishable else None,
        holder_email=email_digest(call, customer.get("email")) if publishable else None,
    )
    done = await reserve(call.world, request, call.key)
    if isinstance(done, Refusal):
        raise Problem(done)
    if isinstance(done, Replay):
        answer = await answer_about(call, done.result["id"], tell_secret=True)
        return Answer(answer, done.http_status, REPLAYED)
    seen = Seen(done.reservation, done.event_type, [], done.reservation.created_at)
    return Answer(await answer_of(call, seen, tell_secret=True), 201)


async def get_reservation(call: Call) -> Answer:
    return Answer(await answer_about(call, call.path["reservation"]))


async def change_reservation(call: Call) -> Answer:
    body: Details = call.body
    check_details(body)
    reservation_id = await no_other_account(call)
    customer = _customer(body) or None
    given = GivenDetails(
        customer=customer,
        guests=body.guests,
        answers=body.answers,
        metadata=body.metadata,
        holder_email=email_digest(call, (customer or {}).get("email")),
    )
    await call.run(
        set_details, reservation_id, given, by_secret_key=call.by_secret_key, limits=call.world.limits
    )
    return Answer(await answer_about(call, reservation_id))


async def list_reservations(call: Call) -> Answer:
    asked = call.asked(ReservationQuery)
    check_instants(**{"from": asked.start_from, "to": asked.start_to})
    cursor = paging.before(asked, "res")
    seen, more = await call.world.database.snapshot(_find, call, asked, cursor)
    answers = []
    for one in seen:
        if lifecycle.expired(one.reservation, one.now) is not None:
            # An end that is told is written down first.
            answers.append(await answer_about(call, one.reservation.id))
        else:
            answers.append(await answer_of(call, one))
    return Answer(paging.content(answers, more))


async def _find(
    tx: Tx, call: Call, asked: ReservationQuery, cursor: str | None
) -> tuple[list[Seen], str | None]:
    account_id = call.who.account_id
    event_type_id = None
    if asked.event_type is not None:
        named = await catalog.load_event_type(tx, account_id, asked.event_type)
        # One that was deleted still has reservations under its id.
        event_type_id = named.id if named else asked.event_type
    found = await reservations.find(
        tx,
        account_id,
        status=asked.status,
        event_type_id=event_type_id,
        host_id=asked.host,
        start_from=asked.start_from,
        start_to=asked.start_to,
        customer_email=asked.customer_email,
        before=cursor,
        limit=paging.one_more(asked),
    )
    shown, more = paging.page(asked, found)
    attempts = await payments.of_reservations(tx, [one.id for one in shown])
    types = {}
    for event_type_id in {one.event_type_id for one in shown}:
        types[event_type_id] = await catalog.event_type_by_id(tx, event_type_id)
    now = await tx.now()
    seen = []
    for one in shown:
        event_type = types[one.event_type_id]
        assert event_type is not None
        seen.append(Seen(one, event_type, attempts[one.id], now))
    return seen, more


def email_digest(call: Call, email: Any) -> bytes | None:
    """To count holds of one e-mail without keeping who it was."""
    return call.world.key_ring.digest(f"email:{email.lower()}") if isinstance(email, str) else None


def _address_digest(call: Call, scope: Scope) -> bytes:
    address = client_address(scope, call.context.settings.trusted_proxies)
    return call.world.key_ring.digest(f"address:{address}")


def _customer(body: Reserve | Details) -> dict[str, Any]:
    return {} if body.customer is None else body.customer.given()


_res: Any = partial(Operation, who=HOLDERS, answer=ReservationAnswer, missing=Code.RESERVATION_NOT_FOUND)
_GONE = (Code.RESERVATION_NOT_FOUND,)

OPERATIONS: list[Operation] = [
    _res(
        method="POST",
        path="/v1/reservations",
        summary="Hold a slot",
        endpoint=reserve_slot,
        who=READERS,
        body=Reserve,
        status=201,
        refusals=(
            Code.EVENT_TYPE_NOT_FOUND,
            Code.EVENT_TYPE_INACTIVE,
            Code.SLOT_NOT_OFFERED,
            Code.SLOT_TAKEN,
            Code.TOO_MANY_HOLDS,
            Code.NO_PAYMENT_ACCOUNT,
            Code.CALENDAR_UNREACHABLE,
        ),
    ),
    _res(
        method="GET",
        path="/v1/reservations",
        summary="List reservations",
        endpoint=list_reservations,
        who=SECRET,
        query=ReservationQuery,
        answer=Page[ReservationAnswer],
    ),
    _res(
        method="GET",
        path="/v1/reservations/{reservation:str}",
        summary="A reservation",
        endpoint=get_reservation,
        refusals=_GONE,
    ),
    _res(
        method="PATCH",
        path="/v1/reservations/{reservation:str}",
        summary="Add details",
        endpoint=change_reservation,
        body=Details,
        refusals=(
            *_GONE,
            Code.PAYMENT_IN_PROGRESS,
            Code.HOLD_EXPIRED,
            Code.ALREADY_RELEASED,
            Code.ALREADY_CANCELLED,
            Code.TOO_MANY_HOLDS,
        ),
    ),
]
