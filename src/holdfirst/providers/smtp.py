# SPDX-License-Identifier: Apache-2.0
"""Mail by SMTP: `smtp://user:password@host:587` (STARTTLS where offered) or `smtps://host:465`."""

from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

import aiosmtplib

from holdfirst.errors import ConfigurationError, ProviderUnavailable

PORTS = {"smtp": 587, "smtps": 465}


class Smtp:
    """One connection a message: mail is rare, and a connection kept is one that breaks."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise _unusable() from error
        if parts.scheme not in PORTS or not parts.hostname:
            raise _unusable()
        self._host = parts.hostname
        self._port = port or PORTS[parts.scheme]
        self._tls = parts.scheme == "smtps"
        self._user = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None

    async def send(self, message: EmailMessage) -> None:
        try:
            await aiosmtplib.send(
                message,
                hostname=self._host,
                port=self._port,
                use_tls=self._tls,
                username=self._user,
                password=self._password,
                timeout=20,
            )
        except (aiosmtplib.SMTPException, OSError) as error:
            raise ProviderUnavailable(f"mail server: {type(error).__name__}") from error


def _unusable() -> ConfigurationError:
    return ConfigurationError(
        "HOLDFIRST_SMTP_URL must look like smtp://user:password@host:587 or smtps://host."
    )
