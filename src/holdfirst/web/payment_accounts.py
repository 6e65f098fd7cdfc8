# SPDX-License-Identifier: Apache-2.0
"""`/v1/payment-accounts`: where money goes. Credentials come in, are sealed, and are never told again."""

from functools import partial
from typing import Any

from msgspec import UnsetType
from msgspec.structs import replace

from holdfirst import ids
from holdfirst.effects import payees as at_provider
from holdfirst.effects.world import World
from holdfirst.errors import ProviderUnavailable
from holdfirst.flows import payment_accounts
from holdfirst.flows.accounts import sealer
from holdfirst.flows.keyed import Replay
from holdfirst.payment.payment import Methods, Mode
from holdfirst.payment.provider import RegistersNotifications
from holdfirst.refusal import Code, Refusal, invalid
from holdfirst.store import payees
from holdfirst.store.database import Tx
from holdfirst.store.payees import PaymentAccount
from holdfirst.web import paging
from holdfirst.web.answers import (
    LinkAnswer,
    Page,
    PaymentAccountAnswer,
    payment_account_answer,
)
from holdfirst.web.hosts import REPLAYED
from holdfirst.web.instants import NOT_YET
from holdfirst.web.operation import SECRET, Answer, Call, Operation, unless_refused
from holdfirst.web.problems import Problem
from holdfirst.web.requests import (
    ApplicationFee,
    OnboardingLink,
    Paging,
    PaymentAccountForm,
    PaymentAccountPatch,
)

SANDBOX = "sandbox"


async def create_payment_account(call: Call) -> Answer:
    form: PaymentAccountForm = call.body
    wanted = await _wanted(call, form)
    tried = await at_provider.tried(call.world, wanted, _given(form), form.mode)
    payee, read = unless_refused(tried)
    payee = replace(payee, sealed_credentials=sealer(call.world.key_ring)(read, payee.id))

    async def work(tx: Tx) -> PaymentAccount | Refusal:
        return await payment_accounts.create_payment_account(tx, payee)

    done = await call.once(work, lambda made: (201, {"id": made.id}))
    if isinstance(done, Replay):
        return Answer(
            payment_account_told(call.world, await _load(call, done.result["id"])), done.http_status, REPLAYED
        )
    await _register_now(call, done)
    return Answer(payment_account_told(call.world, await _load(call, done.id)), 201)


async def _wanted(call: Call, form: PaymentAccountForm) -> PaymentAccount:
    """The account that is to be, as far as its caller says."""
    platform: PaymentAccount | None = None
    if form.platform is not None:
        platform = await call.run(
            payment_accounts.platform_of, call.who.account_id, form.provider, form.platform
        )
        if form.connected_account is None or form.credentials is not None:
            raise Problem(invalid("connected_account", "is what goes with a platform, and no credentials"))
    elif form.connected_account is not None or form.application_fee is not None:
        raise Problem(invalid("platform", "is missing: whose connected account is it?"))
    provider = platform.provider if platform else form.provider
    if provider is None or provider not in call.world.providers:
        known = ", ".join(sorted(call.world.providers))
        raise Problem(invalid("provider", f"must be one of: {known}"))
    if provider == SANDBOX and call.who.livemode:
        said = "the sandbox moves no money, so a live account cannot be paid by it"
        raise Problem(invalid("provider", said))
    if form.mode is not None and provider != SANDBOX:
        raise Problem(invalid("mode", "is the sandbox's alone; say methods"))
    basis_points, minor = _fee(form.application_fee)
    return PaymentAccount(
        id=ids.make("pac"),
        account_id=call.who.account_id,
        livemode=call.who.livemode,
        provider=provider,
        mode=form.mode or Mode.AUTHORIZE,
        sealed_credentials=platform.sealed_credentials if platform else b"",
        charges_enabled=True,
        problem=None,
        created_at=NOT_YET,
        methods=_methods_of(form.mode) or form.methods,
        platform_id=form.platform,
        connected_account=form.connected_account,
        fee_basis_points=basis_points,
        fee_minor=minor,
    )


def _methods_of(mode: Mode | None) -> Methods | None:
    """What a mode that is named means for the methods."""
    if mode is None:
        return None
    return Methods.HOLDS_AND_SALES if mode.is_sale else Methods.HOLDS_ONLY


def _given(form: PaymentAccountForm) -> dict[str, Any]:
    return form.credentials or {}


def _fee(fee: ApplicationFee | None) -> tuple[int | None, int | None]:
    """(hundredths of a percent, minor units): at most one of them."""
    if fee is None:
        return None, None
    if (fee.percent is None) is (fee.amount_minor is None):
        raise Problem(invalid("application_fee", "must say either percent or amount_minor"))
    if fee.percent is None:
        return None, fee.amount_minor
    basis_points = round(fee.percent * 100)
    if abs(fee.percent * 100 - basis_points) > 1e-6:
        raise Problem(invalid("application_fee.percent", "may have two decimals"))
    return basis_points, None


async def _register_now(call: Call, payee: PaymentAccount) -> None:
    """At once where that works, so that the answer tells how it is; else its job does it."""
    if payee.notifies:
        return
    try:
        await at_provider.check(call.world, payee.id)
    except ProviderUnavailable:
        return


def payment_account_told(world: World, payee: PaymentAccount) -> PaymentAccountAnswer:
    provider = world.providers.get(payee.provider)
    events = provider.notification_events if isinstance(provider, RegistersNotifications) else ()
    return payment_account_answer(payee, at_provider.notification_url(world.public_url, payee), events)


async def list_payment_accounts(call: Call) -> Answer:
    """Few by their nature, so all of them are one page, oldest first."""
    found = await call.world.database.single(payees.of_account, call.who.account_id)
    return Answer(paging.content([payment_account_told(call.world, one) for one in found], None))


async def get_payment_account(call: Call) -> Answer:
    return Answer(payment_account_told(call.world, await _load(call, call.path["payment_account"])))


async def change_payment_account(call: Call) -> Answer:
    patch: PaymentAccountPatch = call.body
    payee = await _load(call, call.path["payment_account"])
    if patch.mode is not None and payee.provider != SANDBOX:
        raise Problem(invalid("mode", "is the sandbox's alone; say methods"))
    if patch.credentials:
        payee = await _with_credentials(call, payee, patch.credentials)
    fee = _fee_patched(payee, patch.application_fee)
    methods = _methods_of(patch.mode) or patch.methods or payee.methods
    mode = patch.mode or payee.mode
    if patch.methods is not None and patch.mode is None:
        mode = call.world.providers[payee.provider].modes[patch.methods]
    changed = replace(payee, mode=mode, methods=methods, fee_basis_points=fee[0], fee_minor=fee[1])
    await call.run(payment_accounts.change_terms, changed)
    return Answer(payment_account_told(call.world, await _load(call, payee.id)))


def _fee_patched(
    payee: PaymentAccount, fee: ApplicationFee | UnsetType | None
) -> tuple[int | None, int | None]:
    if isinstance(fee, UnsetType):
        return payee.fee_basis_points, payee.fee_minor
    if fee is not None and payee.platform_id is None:
        raise Problem(invalid("application_fee", "is for connected accounts"))
    return _fee(fee)


async def _with_credentials(call: Call, payee: PaymentAccount, given: dict[str, Any]) -> PaymentAccount:
    """The members that are given, over those that are kept; tried before they are kept."""
    if payee.platform_id is not None:
        raise Problem(invalid("credentials", "are its platform's"))
    whole = replace(payee, methods=payee.methods or PaymentAccountForm(provider=payee.provider).methods)
    tried, read = unless_refused(await at_provider.changed(call.world, whole, given))
    sealed = sealer(call.world.key_ring)(read, payee.id)
    return await call.run(payment_accounts.change_credentials, replace(tried, sealed_credentials=sealed))


async def make_onboarding_link(call: Call) -> Answer:
    """A page of the provider's, for the connected account's owner; it opens once and for minutes."""
    form: OnboardingLink = call.body
    payee = await _load(call, call.path["payment_account"])

    async def work() -> str | Refusal:
        return await at_provider.onboarding_link(call.world, payee, form.return_url, form.refresh_url)

    done = await call.through(work, lambda url: (200, {"url": url}))
    if isinstance(done, Replay):
        return Answer(LinkAnswer(url=done.result["url"]), done.http_status, REPLAYED)
    return Answer(LinkAnswer(url=done))


async def delete_payment_account(call: Call) -> Answer:
    await call.run(payment_accounts.delete_payment_account, call.who.account_id, call.path["payment_account"])
    return Answer(status=204)


async def _load(call: Call, payment_account_id: str) -> PaymentAccount:
    payee = await call.world.database.single(payees.load, payment_account_id)
    if payee is None or payee.account_id != call.who.account_id:
        raise Problem(payment_accounts.no_such_payment_account())
    return payee


_GONE = (Code.PAYMENT_ACCOUNT_NOT_FOUND,)
_payee: Any = partial(
    Operation, who=SECRET, answer=PaymentAccountAnswer, missing=Code.PAYMENT_ACCOUNT_NOT_FOUND
)

OPERATIONS: list[Operation] = [
    _payee(
        method="POST",
        path="/v1/payment-accounts",
        summary="Add a payment account",
        endpoint=create_payment_account,
        body=PaymentAccountForm,
        status=201,
        refusals=(Code.PROVIDER_UNAVAILABLE,),
    ),
    _payee(
        method="GET",
        path="/v1/payment-accounts",
        summary="List payment accounts",
        endpoint=list_payment_accounts,
        query=Paging,
        answer=Page[PaymentAccountAnswer],
    ),
    _payee(
        method="GET",
        path="/v1/payment-accounts/{payment_account:str}",
        summary="A payment account",
        endpoint=get_payment_account,
        refusals=_GONE,
    ),
    _payee(
        method="PATCH",
        path="/v1/payment-accounts/{payment_account:str}",
        summary="Change a payment account",
        endpoint=change_payment_account,
        body=PaymentAccountPatch,
        refusals=(*_GONE, Code.PROVIDER_UNAVAILABLE),
    ),
    _payee(
        method="POST",
        path="/v1/payment-accounts/{payment_account:str}/onboarding-link",
        summary="Lead a connected account's owner through the provider's questions",
        endpoint=make_onboarding_link,
        body=OnboardingLink,
        answer=LinkAnswer,
        refusals=(*_GONE, Code.PROVIDER_UNAVAILABLE),
    ),
    _payee(
        method="DELETE",
        path="/v1/payment-accounts/{payment_account:str}",
        summary="Remove a payment account",
        endpoint=delete_payment_account,
        answer=None,
        status=204,
        refusals=(*_GONE, Code.STILL_IN_USE),
    ),
]
