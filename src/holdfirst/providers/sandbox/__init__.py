# SPDX-License-Identifier: Apache-2.0
"""A payment company that moves no money: for the demo, for tests, never for a live account.

checkout.py   its rules, pure
books.py      its rows: one transaction per call, and the faults that calls meet
provider.py   holdfirst's side: the protocol that every payment provider has
company.py    the other side: what customers and testers do, and the notifications it sends
signature.py  how those are signed
"""

from holdfirst.providers.sandbox.books import Books
from holdfirst.providers.sandbox.company import SandboxCompany
from holdfirst.providers.sandbox.provider import SandboxProvider
from holdfirst.providers.sandbox.signature import fresh_secrets

__all__ = ["Books", "SandboxCompany", "SandboxProvider", "fresh_secrets"]
