# SPDX-License-Identifier: Apache-2.0
"""Failures of the world. A refusal is a value (`refusal.py`); a bug is an assert.

HoldfirstError
├── Busy                     a lock was waited for longer than the limit
├── DatabaseUnavailable      no connection, or it broke; the outcome may be unknown
├── ProviderUnavailable      a company did not answer in time
├── CalendarDenied           a calendar account does not let us in
│   └── CalendarUnreadable   it does, and does not let us read this one calendar
├── CalendarRefused          a calendar does not take what we write; the account lets us in all the same
├── ConfigurationError       settings that cannot work; said in words a person can act on
└── EmbeddedPostgresError    the server in the data directory cannot be started or used
"""


class HoldfirstError(Exception):
    """Root of every failure that holdfirst raises on purpose."""


class Busy(HoldfirstError):
    """A lock was waited for longer than the limit (2 s); trying again is right."""


class DatabaseUnavailable(HoldfirstError):
    """The database cannot be reached, or the connection broke; the outcome may be unknown."""


class ProviderUnavailable(HoldfirstError):
    """A payment or calendar provider did not answer in time; the outcome may be unknown."""


class CalendarDenied(HoldfirstError):
    """A calendar account does not let us in, or does not let us read; asking again does not help."""


class CalendarUnreadable(CalendarDenied):
    """This calendar is not to be read any more, whatever the account's others say: it was deleted, or is shared no longer."""


class CalendarRefused(HoldfirstError):
    """A calendar does not take our events, though the account lets us in: it can be read, and not be written."""


class ConfigurationError(HoldfirstError):
    """A setting that cannot work; the message says which one and what to do."""


class EmbeddedPostgresError(HoldfirstError):
    """The PostgreSQL in the data directory cannot be started or used; the message says why."""
