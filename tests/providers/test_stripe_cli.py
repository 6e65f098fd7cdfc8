# SPDX-License-Identifier: Apache-2.0
"""Stripe's own command line against the fake: requests that nobody here wrote. `make setup-stripe-cli` installs it."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from .stripe_fake import StripeFake

INSTALLED = Path(__file__).parent / "stripe_cli" / "node_modules" / "@stripe"
KEY = "sk_test_cli00000000000000000000"


@pytest.fixture
def cli() -> str:
    """The binary itself, so that no Node is needed. Without it these tests fail: they never pass unseen."""
    found = [str(path) for path in INSTALLED.glob("cli-*/bin/stripe*")] + [shutil.which("stripe") or ""]
    assert found[0], "the Stripe CLI is not installed: make setup-stripe-cli"
    return found[0]


@pytest.fixture
def served() -> Iterator[tuple[StripeFake, str]]:
    # The command line chooses a version of its own.
    fake = StripeFake(version=None)
    fake.account(KEY, "acct_cli")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(fake, log_level="error", lifespan="off"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield fake, f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join()


def fired(cli: str, fixtures: list[dict], url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "fixtures.json"
    file.write_text(json.dumps({"_meta": {"template_version": 0}, "fixtures": fixtures}))
    return ran(cli, ["fixtures", str(file)], url, folder)


def ran(cli: str, words: list[str], url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [cli, *words, "--api-key", KEY, "--api-base", url]
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "STRIPE_CLI_TELEMETRY_OPTOUT": "1"}
    return subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], **home},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ("checkout.session.completed", ["payment_intent.succeeded", "checkout.session.completed"]),
        ("checkout.session.expired", ["checkout.session.expired"]),
        ("payment_intent.succeeded", ["payment_intent.succeeded"]),
        ("payment_intent.amount_capturable_updated", ["payment_intent.amount_capturable_updated"]),
        ("charge.refunded", ["payment_intent.succeeded", "refund.created", "charge.refunded"]),
    ],
)
def test_its_own_fixtures_play_at_the_fake(
    cli: str, served: tuple[StripeFake, str], tmp_path: Path, event: str, told: list[str]
) -> None:
    """What Stripe's people wrote to bring an event about brings it about here."""
    fake, url = served
    done = ran(cli, ["trigger", event], url, tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    assert [one["type"] for one in fake.accounts["acct_cli"].events] == told


def session(**more: object) -> dict:
    line = {
        "quantity": 1,
        "price_data": {"currency": "eur", "unit_amount": 6000, "product_data": {"name": "An hour"}},
    }
    return {
        "name": "session",
        "path": "/v1/checkout/sessions",
        "method": "post",
        "params": {"mode": "payment", "success_url": "https://a.example/", "line_items": [line], **more},
    }


def test_it_opens_and_expires_a_session(cli: str, served: tuple[StripeFake, str], tmp_path: Path) -> None:
    fake, url = served
    expire = {
        "name": "expired",
        "path": "/v1/checkout/sessions/${session:id}/expire",
        "method": "post",
        "params": {},
    }
    done = fired(cli, [session(), expire], url, tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    [made] = fake.accounts["acct_cli"].sessions.values()
    assert (made.status, made.total) == ("expired", 6000)


@pytest.mark.parametrize(
    "wrong", [{"payment_method_types": ["card"]}, {"submit_type": "buy"}, {"colour": "red"}]
)
def test_it_is_refused_what_stripe_refuses(
    cli: str, served: tuple[StripeFake, str], tmp_path: Path, wrong: dict
) -> None:
    fake, url = served
    done = fired(cli, [session(**wrong)], url, tmp_path)
    assert done.returncode != 0 or "error" in (done.stderr + done.stdout).lower()
    assert not fake.accounts["acct_cli"].sessions
