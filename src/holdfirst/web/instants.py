# SPDX-License-Identifier: Apache-2.0
"""Instants on the wire: RFC 3339, UTC, `Z`, milliseconds."""

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

Instant = Annotated[
    str, Meta(description="RFC 3339, in UTC, with milliseconds.", extra_json_schema={"format": "date-time"})
]
NOT_YET = datetime.fromtimestamp(0, UTC)
"""Of what is to be made: when, is said by the transaction that makes it."""


def z(instant: datetime) -> str:
    """`2026-12-07T08:00:00.000Z`."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def z_or_none(instant: datetime | None) -> str | None:
    return None if instant is None else z(instant)
