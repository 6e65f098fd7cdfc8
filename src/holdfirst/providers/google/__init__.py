# SPDX-License-Identifier: Apache-2.0
"""Google Calendar: the calls, tokens and limits, events in our words."""

from holdfirst.providers.google.calls import GoogleClient
from holdfirst.providers.google.provider import Google

__all__ = ["Google", "GoogleClient"]
