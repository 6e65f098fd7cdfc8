# SPDX-License-Identifier: Apache-2.0
"""holdfirst: a scheduling server for paid bookings. Reserve, then confirm."""

__version__ = "0.1.0"
