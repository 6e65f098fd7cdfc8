# SPDX-License-Identifier: Apache-2.0
"""One call to GoPay: a token that lives half an hour, a time limit, and what each error means. Nothing is tried again."""

from collections.abc import Mapping
from typing import Any

import httpx
import msgspec

from holdfirst.clock import monotonic
from holdfirst.payment.provider import Credentials, Refused, Unknown

LIVE_URL = "https://gate.gopay.cz/api"
TEST_URL = "https://gw.sandbox.gopay.com/api"
SECONDS_MAX = 10.0
TOKEN_MARGIN_SECONDS = 60.0
SCOPE = "payment-all"
REASON_LENGTH_MAX = 200

NOT_NOW = frozenset({303, 330, 331})
"""Wrong state, not refundable: GoPay says so of young payments too, and of those that something else is happening to."""


class Failed(msgspec.Struct, frozen=True):
    """An answer in GoPay's own words: its error codes, and the first message."""

    status: int
    codes: tuple[int, ...]
    message: str

    def refusal(self) -> Refused:
        said = f"{self.message or 'refused'} ({', '.join(map(str, self.codes)) or self.status})"
        return Refused(said[:REASON_LENGTH_MAX], for_now=bool(NOT_NOW & set(self.codes)))


class GoPayCalls:
    """Tokens are kept for as long as they live, by client and host; credentials are not."""

    def __init__(self, http: httpx.AsyncClient, *, test_url: str, live_url: str, seconds_max: float) -> None:
        self._http = http
        self._seconds_max = seconds_max
        self._url = {False: test_url, True: live_url}
        self._tokens: dict[tuple[str, str], tuple[str, float]] = {}

    async def call(
        self,
        method: str,
        path: str,
        account: Credentials,
        *,
        json: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> Any | Failed | Refused | Unknown:
        """The answer's JSON; `Failed` where GoPay said no; `Refused` where the credentials are no good."""
        for fresh in (False, True):
            token = await self.token(account, fresh=fresh)
            if not isinstance(token, str):
                return token
            answer = await self._send(
                method,
                self._url[account.livemode] + path,
                headers={"authorization": f"Bearer {token}", "accept": "application/json"},
                json=json,
                data=form,
            )
            if isinstance(answer, Failed) and answer.status in (401, 403) and not fresh:
                # A token that was taken back before its time.
                continue
            if isinstance(answer, Failed) and answer.status in (401, 403):
                return Refused("the credentials were refused")
            return answer
        raise AssertionError

    async def token(self, account: Credentials, *, fresh: bool = False) -> str | Refused | Unknown:
        url, client = self._url[account.livemode], account.secrets["client_id"]
        kept = self._tokens.get((url, client))
        if kept is not None and not fresh and kept[1] > monotonic():
            return kept[0]
        answer = await self._send(
            "POST",
            f"{url}/oauth2/token",
            auth=(client, account.secrets["client_secret"]),
            data={"grant_type": "client_credentials", "scope": SCOPE},
            headers={"accept": "application/json"},
        )
        if isinstance(answer, Unknown):
            return answer
        if isinstance(answer, Failed) or not isinstance(answer.get("access_token"), str):
            return Refused("the credentials were refused")
        token: str = answer["access_token"]
        life = float(answer.get("expires_in", 0)) - TOKEN_MARGIN_SECONDS
        self._tokens[url, client] = (token, monotonic() + life)
        return token

    async def _send(self, method: str, url: str, **what: Any) -> Any | Failed | Unknown:
        try:
            answer = await self._http.request(method, url, timeout=self._seconds_max, **what)
        except httpx.HTTPError as error:
            return Unknown(type(error).__name__)
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            return Unknown(f"HTTP {answer.status_code}")
        try:
            said = msgspec.json.decode(answer.content)
        except msgspec.DecodeError:
            said = None
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            return _failed(answer.status_code, said)
        return said if isinstance(said, dict | list) else Unknown("an answer that is not JSON")


def _failed(status: int, said: Any) -> Failed:
    errors = said.get("errors") if isinstance(said, dict) else None
    errors = [one for one in errors or [] if isinstance(one, dict)]
    codes = tuple(one["error_code"] for one in errors if isinstance(one.get("error_code"), int))
    message = next((str(one.get("message") or one.get("error_name") or "") for one in errors), "")
    return Failed(status, codes, message)
