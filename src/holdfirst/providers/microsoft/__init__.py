# SPDX-License-Identifier: Apache-2.0
"""Calendars of Microsoft 365 and of personal Microsoft accounts, through Microsoft Graph (v1.0)."""

from holdfirst.providers.microsoft.login import MicrosoftClient
from holdfirst.providers.microsoft.provider import Microsoft

__all__ = ["Microsoft", "MicrosoftClient"]
