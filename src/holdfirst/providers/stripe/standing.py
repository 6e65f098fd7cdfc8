# SPDX-License-Identifier: Apache-2.0
"""The account itself: can it take money, where does Stripe notify us, how is it set up, what is on its books."""

from datetime import datetime
from typing import TYPE_CHECKING, cast

import stripe

from holdfirst.payment.provider import (
    Credentials,
    Link,
    Listed,
    ListingPage,
    Refused,
    Registered,
    Standing,
    Unknown,
)
from holdfirst.providers.stripe.calls import API_VERSION, told

if TYPE_CHECKING:
    from stripe.params import WebhookEndpointCreateParams
    from stripe.params.checkout import SessionListParams

EVENTS = (
    "checkout.session.completed",
    "checkout.session.expired",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "payment_intent.amount_capturable_updated",
    "payment_intent.succeeded",
    "payment_intent.canceled",
    "payment_intent.payment_failed",
    "charge.refunded",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.closed",
    "account.updated",
)
PAGE_SIZE = 100


async def standing(client: stripe.StripeClient, account: Credentials) -> Standing | Unknown:
    """By the account's own word. A restricted key that may not read it leaves that open, and is no problem."""
    try:
        if account.connected_account:
            seen = await client.v1.accounts.retrieve_async(account.connected_account)
        else:
            seen = await client.v1.accounts.retrieve_current_async()
    except stripe.AuthenticationError:
        return Standing(charges_enabled=False, problem="key_refused")
    except stripe.PermissionError:
        if account.connected_account:
            return Standing(charges_enabled=False, problem="account_not_connected")
        return Standing(charges_enabled=True)
    except stripe.StripeError as error:
        return Unknown(type(error).__name__)
    if seen.charges_enabled:
        return Standing(charges_enabled=True, identity=seen.id)
    reason = seen.requirements.disabled_reason if seen.requirements else None
    return Standing(charges_enabled=False, problem=reason or "charges_disabled", identity=seen.id)


async def register(client: stripe.StripeClient, url: str) -> Registered | Refused | Unknown:
    """Our address, once. One that is there already has told its secret to somebody: it is made anew."""

    async def work() -> Registered:
        listed = await client.v1.webhook_endpoints.list_async({"limit": 100})
        for one in listed.data:
            if one.url == url:
                await client.v1.webhook_endpoints.delete_async(one.id)
        params = cast(
            "WebhookEndpointCreateParams",
            {"url": url, "enabled_events": list(EVENTS), "api_version": API_VERSION},
        )
        made = await client.v1.webhook_endpoints.create_async(params)
        secrets = [made.secret or ""]
        # The same address hears of the accounts that are connected to this one.
        params["connect"] = True
        try:
            connect = await client.v1.webhook_endpoints.create_async(params)
        except (stripe.InvalidRequestError, stripe.PermissionError):
            # Not a platform, or a key that may not say so.
            return Registered({"webhook_secrets": " ".join(secrets)})
        return Registered({"webhook_secrets": " ".join([*secrets, connect.secret or ""])})

    return await told(work)


async def onboarding_link(
    client: stripe.StripeClient, return_url: str, refresh_url: str, account: Credentials
) -> Link | Refused | Unknown:
    if account.connected_account is None:
        return Refused("only a connected account is led through Stripe's questions")
    link = await told(
        # Asked for as the platform, about the connected one.
        lambda: client.v1.account_links.create_async(
            {
                "account": account.connected_account or "",
                "type": "account_onboarding",
                "return_url": return_url,
                "refresh_url": refresh_url,
            }
        )
    )
    return Link(link.url) if isinstance(link, stripe.AccountLink) else link


async def checkouts_since(
    client: stripe.StripeClient, since: datetime, page: str | None
) -> ListingPage | Unknown:
    params: SessionListParams = {
        "created": {"gte": int(since.timestamp())},
        "status": "complete",
        "limit": PAGE_SIZE,
    }
    if page is not None:
        params["starting_after"] = page
    seen = await told(lambda: client.v1.checkout.sessions.list_async(params))
    if isinstance(seen, Refused | Unknown):
        return Unknown(seen.reason)
    listed = [Listed(one.id, one.client_reference_id) for one in seen.data if one.client_reference_id]
    return ListingPage(listed, seen.data[-1].id if seen.has_more and seen.data else None)
