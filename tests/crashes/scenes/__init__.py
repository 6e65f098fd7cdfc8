# SPDX-License-Identifier: Apache-2.0
"""All scenes, by name; told in `case.py`."""

from . import (
    bookings,
    calendar_connections,
    calendar_holds,
    calendar_money,
    calendar_readings,
    calendar_watches,
    companies,
    giving_back,
    paying,
    seldom,
    set_up,
    webhooks,
)
from .case import SCENES, Case

__all__ = ["SCENES", "Case"]
_ = (
    bookings,
    calendar_connections,
    calendar_holds,
    calendar_money,
    calendar_readings,
    calendar_watches,
    companies,
    giving_back,
    paying,
    seldom,
    set_up,
    webhooks,
)
