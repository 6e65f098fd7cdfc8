# SPDX-License-Identifier: Apache-2.0
"""What only Stripe's own command line asks for: products, prices and payment methods to pay a session with."""

from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict

import stripe

from .shapes import resource


class PageParams(TypedDict):
    """The hosted page's own, in no package."""


class PageConfirmParams(TypedDict):
    payment_method: str
    expected_amount: int


class Account(Protocol):
    livemode: bool

    def id(self, prefix: str) -> str: ...

    def clock(self) -> int: ...


@dataclass
class Catalog:
    prices: dict[str, dict[str, Any]] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)

    def make(self, kind: str, wanted: dict[str, Any], account: Account) -> dict[str, Any]:
        said = {"created": account.clock(), "livemode": account.livemode, "metadata": {}}
        match kind:
            case "product":
                more = {"active": True, "images": [], "marketing_features": [], "type": "service"}
                more |= {"name": wanted["name"], "updated": account.clock()}
                return resource(stripe.Product, id=account.id("prod"), object="product", **said, **more)
            case "price":
                more = {"active": True, "billing_scheme": "per_unit", "type": "one_time"}
                more |= {name: wanted[name] for name in ("currency", "product", "unit_amount")}
                made = resource(stripe.Price, id=account.id("price"), object="price", **said, **more)
                self.prices[made["id"]] = made
                return made
            case _:
                more = {"type": wanted["type"], "billing_details": {}}
                made = resource(
                    stripe.PaymentMethod, id=account.id("pm"), object="payment_method", **said, **more
                )
                self.methods[made["id"]] = wanted["type"]
                return made

    def with_prices(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The lines of a session, each with the data of the price that it names."""
        return [
            line
            | {"price_data": {name: self.prices[line["price"]][name] for name in ("currency", "unit_amount")}}
            if "price" in line
            else line
            for line in lines
        ]
