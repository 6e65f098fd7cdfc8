# SPDX-License-Identifier: Apache-2.0
"""Microsoft's login: the page where a host lets us in, and what that is worth (OAuth 2, authorization code, PKCE).

Every refresh token that is used is answered with another one, and each dies 90 days after it was given: whoever does not
keep the latest is shut out.
"""

from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec

from holdfirst.errors import CalendarDenied, ProviderUnavailable
from holdfirst.providers.outward import Answer, Outward

API = "https://graph.microsoft.com/v1.0"
LOGIN = "https://login.microsoftonline.com"
SCOPES = "offline_access Calendars.ReadWrite MailboxSettings.Read"
_NOT_HERE = ("AADSTS50020", "AADSTS9002331", "AADSTS9002346")
"""A personal account where only an organisation's may sign in, or the other way round."""
_OURS_TO_MEND = ("invalid_client", "unauthorized_client")


class MicrosoftClient(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's app registration, whose accounts may sign in to it, and where Microsoft is."""

    client_id: str
    client_secret: str
    tenant: str = "common"
    api: str = API
    login: str = LOGIN


class Grant(msgspec.Struct, frozen=True):
    """What Microsoft's token endpoint answers."""

    access_token: str
    expires_in: float = 3600
    refresh_token: str | None = None


class Refusal(msgspec.Struct, frozen=True):
    error: str = ""
    error_description: str = ""


def consent_url(client: MicrosoftClient, redirect_uri: str, state: str, challenge: str) -> str:
    """`select_account`: whoever has two accounts says which one."""
    query = {
        "client_id": client.client_id,
        "redirect_uri": redirect_uri,
        "response_type": "code",
        "response_mode": "query",
        "scope": SCOPES,
        "prompt": "select_account",
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    return f"{client.login}/{client.tenant}/oauth2/v2.0/authorize?{urlencode(query)}"


async def granted(outward: Outward, client: MicrosoftClient, form: Mapping[str, str]) -> Grant:
    """For a code or a refresh token. No scope is named: what was consented to is what is given."""
    ours = {"client_id": client.client_id, "client_secret": client.client_secret}
    answer = await outward.ask(
        "POST",
        f"{client.login}/{client.tenant}/oauth2/v2.0/token",
        headers={"content-type": "application/x-www-form-urlencoded"},
        content=urlencode(dict(form) | ours).encode(),
    )
    if answer.status != 200:
        raise _refused(answer)
    try:
        return msgspec.json.decode(answer.body, type=Grant)
    except msgspec.DecodeError as error:
        raise ProviderUnavailable("Microsoft's answer cannot be read") from error


def _refused(answer: Answer) -> CalendarDenied | ProviderUnavailable:
    """What the host can mend by connecting again is "denied". A client secret that ran out is the operator's."""
    try:
        told = msgspec.json.decode(answer.body, type=Refusal)
    except msgspec.DecodeError:
        told = Refusal()
    if answer.status not in (400, 401, 403) or told.error in ("", "temporarily_unavailable"):
        return ProviderUnavailable(f"Microsoft's login answered {answer.status}")
    if told.error in _OURS_TO_MEND:
        return ProviderUnavailable(
            f"Microsoft does not accept this server's app registration ({told.error}): its secret may have run out"
        )
    reason = told.error_description.partition(":")[0][:40]
    if reason in _NOT_HERE:
        return CalendarDenied(
            f"Microsoft lets no account of this kind sign in here ({reason}): see HOLDFIRST_MICROSOFT_TENANT"
        )
    return CalendarDenied(f"Microsoft has ended this grant ({told.error} {reason}); connect again")
