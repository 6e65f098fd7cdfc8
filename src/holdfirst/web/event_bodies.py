# SPDX-License-Identifier: Apache-2.0
"""What an event tells: `{id, type, created, livemode, data}`, for `GET /v1/events` and webhooks alike."""

from typing import Any

import msgspec

from holdfirst.effects.world import World
from holdfirst.flows.events import EventName
from holdfirst.store import accounts, calendars, catalog, payees
from holdfirst.store.accounts import Account
from holdfirst.store.calendars import Connection, ConnectionStatus
from holdfirst.store.database import Tx
from holdfirst.store.events import Happened
from holdfirst.web.answers import Links, PaymentAccountAnswer, ReservationAnswer
from holdfirst.web.calendar_forms import ConnectionAnswer, connection_answer
from holdfirst.web.instants import z
from holdfirst.web.payment_accounts import payment_account_told
from holdfirst.web.reservation_view import Seen, manage_link, page_link, reservation_answer


class EventBodies:
    """Writes them; made once."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def __call__(self, tx: Tx, event_id: str, happened: Happened) -> bytes:
        account = await accounts.account_by_id(tx, happened.account_id)
        assert account is not None
        return msgspec.json.encode(
            {
                "id": event_id,
                "type": happened.type,
                "created": z(happened.happened_at),
                "livemode": account.mode == "live",
                "data": await self._about(tx, account, happened),
            }
        )

    async def _about(self, tx: Tx, account: Account, happened: Happened) -> Any:
        if happened.reservation is not None:
            return await self._reservation(tx, account, happened)
        if happened.type == EventName.ACCOUNT_PROBLEM:
            return await self._payment_account(tx, happened)
        return await self._connection(tx, account, happened)

    async def _reservation(self, tx: Tx, account: Account, happened: Happened) -> ReservationAnswer:
        reservation = happened.reservation
        assert reservation is not None
        event_type = await catalog.event_type_by_id(tx, reservation.event_type_id)
        assert event_type is not None
        root = self._world.public_url
        links = Links(
            page=page_link(root, account.slug, event_type.slug),
            manage=manage_link(root, reservation.id, None),
        )
        seen = Seen(reservation, event_type, list(happened.payments), happened.happened_at)
        return reservation_answer(seen, links, tell_reference=True)

    async def _payment_account(self, tx: Tx, happened: Happened) -> PaymentAccountAnswer:
        payee = msgspec.structs.replace(
            await payees.load_even_deleted(tx, happened.subject),
            charges_enabled=happened.said["charges_enabled"],
            problem=happened.said["problem"],
        )
        return payment_account_told(self._world, payee)

    async def _connection(self, tx: Tx, account: Account, happened: Happened) -> ConnectionAnswer:
        connection: Connection = await calendars.load_connection_even_deleted(tx, happened.subject)
        then = msgspec.structs.replace(
            connection, status=ConnectionStatus(happened.said["status"]), problem=happened.said["problem"]
        )
        return connection_answer(
            then,
            await calendars.calendars_of(tx, connection.id),
            livemode=account.mode == "live",
            authorize_url=None,
        )
