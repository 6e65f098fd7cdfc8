# SPDX-License-Identifier: Apache-2.0
"""What leaves the server in words: mail, as files and by SMTP, and the log, in which nobody is named."""

import email
import email.policy
import json
import socket
from email.message import EmailMessage

import httpx
import pytest
from aiosmtpd.controller import Controller

from processes.running import Server, open_practice, until

HOSTILE = [
    'Anna "the" <O\'Neil>, Dr; (x) @ [y]',
    "=?utf-8?q?Bcc=3A_all=40example=2Eorg?=",
    "=?utf-8?b?DQpCY2M6IGFsbEBleGFtcGxlLm9yZw==?=",
    "=?utf-8?q?=0D=0ABcc=3A_all=40example=2Eorg=0D=0A=0D=0Abody?=",
    "\u202eannA \u05d0\u05e0\u05d4 \U0001f600",
    "Anna\u2028Bcc: all@example.org\u0085X: y",
    "x" * 200,
    "\u00e4\u6f22 " * 60,
    ".",
    "a,b@c <d@e>",
]


def confirmed(practice, name, address="anna@example.org", **more):
    held = practice.hold("free", customer={"name": name, "email": address}, **more)
    practice.ask("POST", f"/v1/reservations/{held['id']}/confirm", {}, held["client_secret"])
    return held


def parsed(raw: bytes) -> EmailMessage:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def is_a_plain_letter(message, held, address="anna@example.org"):
    assert sorted(name.lower() for name in message) == sorted(
        [
            "message-id",
            "date",
            "from",
            "to",
            "subject",
            "auto-submitted",
            "content-type",
            "content-transfer-encoding",
            "mime-version",
        ]
    )
    assert [one.addr_spec for one in message["to"].addresses] == [address]
    text = message.get_content()
    # The secret stands in the fragment, which no server is ever sent, and nowhere else.
    link, fragment = next(line for line in text.splitlines() if "/m/" in line).split("#")
    assert link.endswith(f"/m/{held['id']}")
    assert fragment == held["client_secret"]
    assert text.count("hf_cs_") == 1
    assert "hf_cs_" not in str(message.items())
    return text


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_names(shared, name):
    answer = shared.call(
        "POST",
        "/v1/reservations",
        {
            "event_type": "free",
            "start": shared.a_start(),
            "customer": {"name": name, "email": "anna@example.org"},
        },
    )
    if answer.status_code == 422:
        assert any(not one.isprintable() for one in name)
        return
    held = answer.json()
    shared.ask("POST", f"/v1/reservations/{held['id']}/confirm", {}, held["client_secret"])
    folder = shared.server.data_dir / "mail"
    [file] = until(
        lambda: [one for one in folder.glob("*.eml") if held["id"].encode() in one.read_bytes()], "the mail"
    )
    text = is_a_plain_letter(parsed(file.read_bytes()), held)
    assert text.startswith(f"Hello {name}".rstrip() + ",")


def test_a_move_is_told_each_time_in_the_customers_language(shared):
    customer = {"name": "Anna", "email": "anna@example.org", "locale": "de-AT", "time_zone": "Asia/Tokyo"}
    held = shared.hold("free", customer=customer)
    path = f"/v1/reservations/{held['id']}"
    # A hold that moves is nobody's news.
    shared.ask("POST", f"{path}/reschedule", {"start": shared.a_start()}, held["client_secret"])
    shared.ask("POST", f"{path}/confirm", {}, held["client_secret"])
    for _ in range(2):
        shared.ask("POST", f"{path}/reschedule", {"start": shared.a_start()})
    until(lambda: len(shared.mails(held)) == 3, "the mails")
    folder = shared.server.data_dir / "mail"
    texts = [
        parsed(file.read_bytes()) for file in folder.glob("*.eml") if held["id"].encode() in file.read_bytes()
    ]
    ids = {message["message-id"] for message in texts}
    assert ids == {f"<{held['id']}.{what}@holdfirst>" for what in ("confirmed", "moved.1", "moved.2")}
    for message in texts:
        text = is_a_plain_letter(message, held)
        assert text.startswith("Guten Tag Anna,")
        assert "Tokio (Japanische Normalzeit)" in text
    assert sorted(message["subject"].split(":")[0] for message in texts) == [
        "Bestätigt",
        "Verlegt",
        "Verlegt",
    ]


class Letters:
    """A mail server that keeps what it is given."""

    def __init__(self):
        self.received = []

    async def handle_DATA(  # noqa: N802
        self, server, session, envelope
    ):
        self.received.append((envelope.rcpt_tos, envelope.original_content))
        return "250 kept"


@pytest.mark.parametrize("utf8", [True, False])
def test_mail_by_smtp_after_an_outage(a_server, utf8):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = a_server(
        SMTP_URL=f"smtp://127.0.0.1:{port}", MAIL_FROM="Praxis Žižka <office@practice.example>"
    ).start()
    practice = open_practice(server)
    held = [confirmed(practice, name) for name in ["Anna", *HOSTILE[:4]]]
    until(lambda: server.errors.count("job_failed") >= len(held), "the first failures")
    letters = Letters()
    mail_server = Controller(letters, hostname="127.0.0.1", port=port, enable_SMTPUTF8=utf8)
    mail_server.start()
    try:
        until(lambda: len(letters.received) == len(held), "the mails", 30)
        for one in held:
            [(to, raw)] = [(to, raw) for to, raw in letters.received if one["id"].encode() in raw]
            assert to == ["anna@example.org"]
            message = parsed(raw)
            is_a_plain_letter(message, one)
            assert message["message-id"] == f"<{one['id']}.confirmed@holdfirst>"
            assert message["from"].addresses[0].addr_spec == "office@practice.example"
        assert server.end()[0] == 0
        assert len(letters.received) == len(held)
    finally:
        mail_server.stop()


def test_nobody_is_named_in_the_log(a_server):
    """Canaries in whatever a customer or a program can say, through the whole of a paid reservation and its troubles."""
    server: Server = a_server().start()
    practice = open_practice(server)
    host = practice.host
    question = {"key": "why", "label": "Why?", "kind": "long_text", "required": False}
    offer = {"name": "Canary-Type", "slug": "canary", "hosts": [host], "duration_minutes": 60,
             "price": {"amount_minor": 6000, "currency": "EUR"}, "payment_account": "pac_sandbox",
             "questions": [question], "metadata": {"m": "canary-type-meta"}}  # fmt: skip
    practice.ask("POST", "/v1/event-types", offer)
    customer = {"name": "Canary-Name", "email": "canary-mail@example.org", "phone": "+420777123987"}
    details = {
        "customer": customer,
        "answers": {"why": "canary-answer"},
        "metadata": {"m": "canary-metadata"},
        "guests": [],
    }
    held = practice.hold("canary", **details)
    path = f"/v1/reservations/{held['id']}"
    secret = held["client_secret"]
    practice.call("PATCH", path, {"metadata": {"m": "canary-later"}}, secret, Idempotency_Key="canary-key-1")
    practice.call("POST", "/v1/reservations", {"start": "canary-start", "event_type": "canary-unknown"})
    practice.call("GET", "/v1/hosts", key="hf_sk_test_canarycanary")
    httpx.get(f"{server.url}/v1/event-types/canary/slots?key=hf_sk_test_canaryinurl")
    httpx.get(f"{server.url}/canary-path?canary-query=1")
    httpx.post(
        f"{server.url}/v1/reservations",
        content=b"{canary-json",
        headers={"authorization": f"Bearer {secret}"},
    )
    practice.fault("create", "500")
    practice.call("POST", f"{path}/checkout", {"return_url": "https://shop.example/canary-return"}, secret)
    ref = practice.checkout(held, Idempotency_Key="canary-key-2")
    practice.fault("capture", "500", 2)
    httpx.post(f"{server.url}/v1/notifications/sandbox/pac_sandbox", content=b"canary-notification")
    practice.act(ref)
    practice.call("POST", f"{path}/confirm", {}, secret)
    practice.until(held, "confirmed")
    httpx.get(f"{server.url}/r/{held['id']}?canary-return=1")
    until(lambda: practice.mails(held), "the mail")
    postgres = server.postgres()[0]
    postgres.kill()
    practice.call("POST", f"{path}/cancel", {"reason": "canary-reason"})
    until(
        lambda: (
            practice.call("POST", f"{path}/cancel", {"reason": "canary-reason"}).status_code in (200, 409)
        ),
        "the cancel",
    )
    assert server.end()[0] == 0
    log = server.errors + (server.data_dir / "postgres.log").read_text()
    said = [
        "canary",
        "777123987",
        secret,
        secret.split(".")[1],
        practice.secret_key,
        practice.publishable_key,
    ]
    assert [one for one in said if one.lower() in log.lower()] == []
    lines = [json.loads(line) for line in server.errors.splitlines()]
    assert {"request", "job_failed"} <= {line["event"] for line in lines}
