# SPDX-License-Identifier: Apache-2.0
"""Stripe's own command line against the fake: requests that nobody here wrote the encoding of.

npm install @stripe/cli && HOLDFIRST_STRIPE_CLI=node_modules/.bin/stripe pytest tests/providers/test_stripe_cli.py
"""

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

CLI = os.environ.get("HOLDFIRST_STRIPE_CLI") or shutil.which("stripe") or ""
pytestmark = pytest.mark.skipif(not CLI, reason="the Stripe CLI is not installed")


@pytest.fixture
def served() -> Iterator[tuple[StripeFake, str]]:
    # The command line chooses a version of its own.
    fake = StripeFake(version=None)
    fake.account("sk_test_cli00000000000000000000", "acct_cli")
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


def fired(fixtures: list[dict], url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "fixtures.json"
    file.write_text(json.dumps({"_meta": {"template_version": 0}, "fixtures": fixtures}))
    command = [CLI, "fixtures", str(file), "--api-key", "sk_test_cli00000000000000000000", "--api-base", url]
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "STRIPE_CLI_TELEMETRY_OPTOUT": "1"}
    return subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], **home},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


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


def test_it_opens_and_expires_a_session(served: tuple[StripeFake, str], tmp_path: Path) -> None:
    fake, url = served
    expire = {
        "name": "expired",
        "path": "/v1/checkout/sessions/${session:id}/expire",
        "method": "post",
        "params": {},
    }
    done = fired([session(), expire], url, tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    [made] = fake.accounts["acct_cli"].sessions.values()
    assert (made.status, made.total) == ("expired", 6000)


@pytest.mark.parametrize(
    "wrong", [{"payment_method_types": ["card"]}, {"submit_type": "buy"}, {"colour": "red"}]
)
def test_it_is_refused_what_stripe_refuses(
    served: tuple[StripeFake, str], tmp_path: Path, wrong: dict
) -> None:
    fake, url = served
    done = fired([session(**wrong)], url, tmp_path)
    assert done.returncode != 0 or "error" in (done.stderr + done.stdout).lower()
    assert not fake.accounts["acct_cli"].sessions
