# SPDX-License-Identifier: Apache-2.0
"""The worked example keeps the contract of every provider, and is found as an installed package's."""

import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from holdfirst import ids, wiring
from holdfirst.errors import ConfigurationError
from holdfirst.payment.payment import Mode
from holdfirst.payment.provider import CredentialFault, Credentials, Notification

from .payment_contract import PaymentContract
from .tally_fake import TallyFake

EXAMPLE = Path(__file__).parents[2] / "examples" / "tally_provider"
sys.path.insert(0, str(EXAMPLE))
from tally_provider import TallyProvider, _sign  # the example is no part of the package


class TallyStage:
    signs = True
    keeps_keys = True
    a_decline_is_final = True

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.fake = TallyFake()
        self.client = self.fake.client()
        self.provider = TallyProvider(self.client)
        self.account, self.another_account = [
            Credentials(
                ids.make("pac"), livemode=False, secrets={"token": f"test_{one}", "signing_secret": one}
            )
            for one in ("one", "two")
        ]

    async def customer_pays(self, ref: str) -> None:
        self.fake.pay(ref)

    async def customer_is_declined(self, ref: str) -> None:
        self.fake.order(ref)["state"] = "declined"

    async def lose_next(self, operation: str, *, done: bool) -> None:
        self.fake.lost.setdefault(operation, []).append(done)

    def notification(self, ref: str, *, age: timedelta = timedelta(0)) -> Notification:
        body = b'{"order": "%s"}' % ref.encode()
        at = str(int(time.time() - age.total_seconds()))
        return Notification("POST", {"tally-signature": f"{at}.{_sign(at, body, self.account)}"}, {}, body)


@pytest.fixture(params=[Mode.AUTHORIZE, Mode.SALE], ids=str)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[TallyStage]:
    stage = TallyStage(request.param)
    yield stage
    await stage.client.aclose()


class TestContract(PaymentContract):
    """Under each of its modes."""


def test_live_and_test_never_meet() -> None:
    provider = TallyProvider()
    assert isinstance(provider.read_credentials({"token": "live_x"}, livemode=False), CredentialFault)
    assert isinstance(provider.read_credentials({"token": "test_x"}, livemode=True), CredentialFault)
    assert provider.read_credentials({"token": "test_x"}, livemode=False)["token"] == "test_x"


def installed(folder: Path, entry: str, monkeypatch) -> None:
    """As pip leaves it: metadata beside the modules."""
    metadata = folder / "holdfirst_tally-0.1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: holdfirst-tally\nVersion: 0.1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{wiring.PROVIDERS}]\nmine = {entry}\n")
    monkeypatch.syspath_prepend(str(folder))


def test_the_example_is_found_once_it_is_installed(tmp_path: Path, monkeypatch) -> None:
    assert "tally" not in wiring.found_providers([])
    said = (EXAMPLE / "pyproject.toml").read_text()
    assert f'[project.entry-points."{wiring.PROVIDERS}"]\ntally = "tally_provider:TallyProvider"' in said
    installed(tmp_path, "tally_provider:TallyProvider", monkeypatch)
    assert isinstance(wiring.found_providers([])["tally"], TallyProvider)


def test_two_of_one_name_are_refused(tmp_path: Path, monkeypatch) -> None:
    installed(tmp_path, "tally_provider:TallyProvider", monkeypatch)
    with pytest.raises(ConfigurationError, match="called tally"):
        wiring.found_providers([TallyProvider()])


@pytest.mark.parametrize(
    "entry", ["no_such_module:X", "tally_provider:no_such_name", "tally_provider:PHASES"]
)
def test_one_that_cannot_be_loaded_says_which(tmp_path: Path, monkeypatch, entry: str) -> None:
    installed(tmp_path, entry, monkeypatch)
    with pytest.raises(ConfigurationError, match=entry.split(":", maxsplit=1)[0]):
        wiring.found_providers([])
