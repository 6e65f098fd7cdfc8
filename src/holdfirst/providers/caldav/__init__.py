# SPDX-License-Identifier: Apache-2.0
"""CalDAV (RFC 4791): iCloud, Fastmail, Nextcloud, Radicale, Xandikos and whoever else speaks it."""

from holdfirst.providers.caldav.provider import CalDav

__all__ = ["CalDav"]
