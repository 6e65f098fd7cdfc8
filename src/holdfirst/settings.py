# SPDX-License-Identifier: Apache-2.0
"""Settings: read once, typed, passed on; nothing else reads the environment.

Every setting is `HOLDFIRST_…`; with `_FILE` appended, its value is read from that file (for secrets).
"""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from holdfirst.errors import ConfigurationError

PREFIX = "HOLDFIRST_"
Seconds = Annotated[int, Field(ge=0, le=7 * 86_400)]


class Settings(BaseSettings):
    """What an operator can set; the table is in docs/settings.md."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore")

    database_url: str | None = None
    data_dir: Path = Path("holdfirst-data")
    public_url: str | None = None
    secret_key: Annotated[str | None, NoDecode] = None
    sandbox: bool = False
    hold_seconds_min: Annotated[int, Field(ge=1)] = 30
    hold_seconds_max: Annotated[int, Field(ge=1)] = 900
    hold_total_seconds_max: Annotated[int, Field(ge=1)] = 1800
    checkout_seconds_min: Seconds = 300
    processing_seconds_max: Seconds = 600
    holds_per_email_max: Annotated[int, Field(ge=0)] = 50
    holds_per_address_max: Annotated[int, Field(ge=0)] = 200
    smtp_url: str | None = None
    mail_from: str = "holdfirst <bookings@localhost>"
    trusted_proxies: str = ""
    allow_private: str = ""
    demo_stripe_key: str | None = None
    calendar_poll_seconds: Annotated[int, Field(ge=1, le=3600)] = 30
    google_client_id: str | None = None
    google_client_secret: str | None = None
    microsoft_client_id: str | None = None
    microsoft_client_secret: str | None = None
    microsoft_tenant: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+$")] = "common"
    database_connections_max: Annotated[int, Field(ge=2, le=500)] = 16

    @property
    def limits(self) -> "Limits":
        return Limits(
            hold_seconds_min=self.hold_seconds_min,
            hold_seconds_max=self.hold_seconds_max,
            total_max=timedelta(seconds=self.hold_total_seconds_max),
            checkout_min=timedelta(seconds=self.checkout_seconds_min),
            processing_max=timedelta(seconds=self.processing_seconds_max),
            holds_per_email_max=self.holds_per_email_max,
            holds_per_address_max=self.holds_per_address_max,
            calendar_poll=timedelta(seconds=self.calendar_poll_seconds),
        )


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds that flows decide with."""

    hold_seconds_min: int = 30
    hold_seconds_max: int = 900
    total_max: timedelta = timedelta(seconds=1800)
    checkout_min: timedelta = timedelta(seconds=300)
    processing_max: timedelta = timedelta(seconds=600)
    holds_per_email_max: int = 50
    holds_per_address_max: int = 200
    calendar_poll: timedelta = timedelta(seconds=30)


def read_settings(environment: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """From the environment, `…_FILE` included; `overrides` are what the command line said (None: nothing)."""
    environment = os.environ if environment is None else environment
    known = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    values: dict[str, Any] = {}
    for name, value in known.items():
        plain = name.removesuffix("_FILE")
        if name != plain:
            try:
                values[plain.removeprefix(PREFIX).lower()] = Path(value).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"{name} names a file that cannot be read: {error}") from error
        else:
            values.setdefault(name.removeprefix(PREFIX).lower(), value)
    values |= {name: value for name, value in overrides.items() if value is not None}
    fields = Settings.model_fields
    try:
        settings = Settings(
            **{name: value for name, value in values.items() if name in fields and value != ""}
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigurationError(f"{PREFIX}{where}: {first['msg']}") from error
    if settings.hold_seconds_min > settings.hold_seconds_max:
        raise ConfigurationError("HOLDFIRST_HOLD_SECONDS_MIN is above HOLDFIRST_HOLD_SECONDS_MAX.")
    return settings
