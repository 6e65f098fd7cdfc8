# SPDX-License-Identifier: Apache-2.0
"""`GET /calendars/{host}/{token}.ics`: a host's feed. Whoever has its address may read it; it is in the host's answer."""

import hashlib
from functools import partial

from litestar import Response

from holdfirst.flows.host_feed import host_feed
from holdfirst.refusal import Code
from holdfirst.web.operation import PUBLIC, Call, Operation
from holdfirst.web.problems import refuse

MEDIA_TYPE = "text/calendar; charset=utf-8"


async def feed(call: Call) -> Response[bytes]:
    host_id, token = call.path["host"], call.path["token"].removesuffix(".ics")
    opens = partial(call.world.key_ring.is_feed_token, token, host_id)
    body = await call.world.database.run(host_feed, host_id, opens)
    if body is None:
        raise refuse(Code.NOT_FOUND)
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"etag": etag, "cache-control": "private, max-age=60", "referrer-policy": "no-referrer"}
    if call.incoming.headers.get("if-none-match") == etag:
        return Response(b"", status_code=304, headers=headers)
    return Response(body, status_code=200, headers=headers, media_type=MEDIA_TYPE)


OPERATIONS: list[Operation] = [
    Operation(
        method="GET",
        path="/calendars/{host:str}/{token:str}",
        summary="A host's reservations as a calendar to subscribe to",
        who=PUBLIC,
        endpoint=feed,
        any_query=True,
        refusals=(Code.NOT_FOUND,),
    ),
]
