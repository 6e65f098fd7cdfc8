# SPDX-License-Identifier: Apache-2.0
"""GoPay: cards promised and captured by us, other methods as sales that nobody can close.

provider.py   the protocol
calls.py      one call: token, bounds, and what an error means
truth.py      what GoPay's payment says, in our words
"""

from holdfirst.providers.gopay.provider import GoPayProvider

__all__ = ["GoPayProvider"]
