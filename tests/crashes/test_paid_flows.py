# SPDX-License-Identifier: Apache-2.0
"""kill -9 at every step of a paid reservation: what was answered stands, and the end is always right."""

import asyncio
import random
import threading
import time
import uuid
from contextlib import suppress

import asyncpg
import httpx
import psutil
import pytest

from holdfirst.embedded_postgres import EmbeddedPostgres
from processes.running import ANNA, PRICE, Practice, clusters_servers, open_practice, set_up, until

LEASE_SECONDS = 75
"""The longest that a job waits whose worker is gone, and a little."""
OPENED = {"return_url": "https://shop.example/thanks"}


def one_mail(practice, held, subject):
    return until(
        lambda: sum(f"Subject: {subject}" in mail for mail in practice.mails(held)) == 1,
        "the mail",
        LEASE_SECONDS,
    )


def is_paid_once(practice, held, ref):
    found = practice.until(held, "confirmed")
    books = practice.ledger(ref)
    assert (books["captured"], books["refunded"], books["voided"]) == (6000, 0, 0), books
    assert found["payment"]["captured"] == PRICE
    one_mail(practice, held, "Confirmed")


def is_refunded_once(practice, held, ref):
    def refunded():
        found = practice.read(held)
        return found["payment"]["refunded"] == PRICE and found

    found = until(refunded, "the refund", LEASE_SECONDS)
    assert found["status"] == "cancelled"
    assert found["payment"]["refund_due"]["amount_minor"] == 0
    books = practice.ledger(ref)
    assert (books["captured"], books["refunded"]) == (6000, 6000), books
    one_mail(practice, held, "Cancelled")


def lease_over(data_dir, table):
    """As if a minute had passed for what a dead process had begun."""

    async def forget(url):
        connection = await asyncpg.connect(url)
        past = "now() - interval '1 second'"
        await connection.execute(f"update {table} set lease_until = {past} where lease_until is not null")
        await connection.close()

    with EmbeddedPostgres(data_dir) as postgres:
        asyncio.run(forget(postgres.start()))


def test_one_kill_with_a_reservation_at_every_step(a_server):
    server = a_server().start()
    practice = open_practice(server)

    held, opened, authorized, pinned, captured = [practice.hold() for _ in range(5)]
    refs = {one["id"]: practice.checkout(one) for one in (opened, authorized, pinned, captured)}
    sold = [practice.hold() for _ in range(2)]
    for one in sold:
        refs[one["id"]] = practice.checkout(one)
        practice.act(refs[one["id"]])
    for one in sold:
        is_paid_once(practice, one, refs[one["id"]])

    # Captured at the provider, and its answer still on the way.
    practice.fault("capture", "slow")
    practice.act(refs[captured["id"]])
    until(lambda: practice.ledger(refs[captured["id"]])["captured"], "the capture")
    assert practice.read(captured)["status"] == "processing"
    # Given back at the provider, and its answer still on the way.
    practice.fault("refund", "slow")
    refunding, cancelled = sold
    practice.ask("POST", f"/v1/reservations/{refunding['id']}/cancel", {})
    until(lambda: practice.ledger(refs[refunding["id"]])["refunded"], "the refund")
    # Pinned, and the capture got lost.
    practice.fault("capture", "lost_before", 2)
    practice.act(refs[pinned["id"]])
    practice.until(pinned, "processing")
    # Authorised, and nobody was told.
    practice.act(refs[authorized["id"]], notify="never")
    # Acknowledged, and nothing more.
    practice.ask("POST", f"/v1/reservations/{cancelled['id']}/cancel", {})
    free, last = practice.hold("free"), practice.hold()
    practice.ask("POST", f"/v1/reservations/{free['id']}/confirm", {}, free["client_secret"])
    server.kill()

    practice = open_practice(server.start())
    lease_over(server.data_dir, "job")
    assert [practice.read(one)["status"] for one in (held, last)] == ["held", "held"]
    assert practice.checkout(opened) == refs[opened["id"]]
    for one in (held, last, opened):
        ref = practice.checkout(one)
        practice.act(ref)
        refs[one["id"]] = ref
    for one in (held, last, opened, authorized, pinned, captured):
        is_paid_once(practice, one, refs[one["id"]])
    for one in sold:
        is_refunded_once(practice, one, refs[one["id"]])
    assert practice.read(free)["status"] == "confirmed"
    one_mail(practice, free, "Confirmed")
    healthy = server.run("doctor")
    assert healthy.returncode == 0, healthy.stdout
    assert server.end()[0] == 0


def test_a_provider_in_trouble_is_not_called_without_end(practice):
    held = practice.hold()
    ref = practice.checkout(held)
    practice.fault("capture", "lost_before", 99)
    practice.act(ref)
    time.sleep(2.5)
    calls = [call["operation"] for call in practice.ledger(ref)["calls"]]
    assert 2 <= calls.count("capture") <= 8, calls


def test_the_next_call_with_its_key_finishes_a_request_that_died(a_server):
    server = a_server().start()
    practice = open_practice(server)
    held = practice.hold()
    path = f"/v1/reservations/{held['id']}/checkout"

    def checkout():
        return practice.call("POST", path, OPENED, held["client_secret"], Idempotency_Key="mine")

    def dies():
        with pytest.raises(httpx.TransportError):
            checkout()

    practice.fault("create", "slow")
    asking = threading.Thread(target=dies)
    asking.start()
    until(lambda: (practice.read(held)["payment"] or {}).get("status") == "open", "the payment")
    time.sleep(0.3)
    server.kill()
    asking.join()
    practice = open_practice(server.start())
    # While it could still be running nobody else runs it.
    busy = checkout()
    assert (busy.status_code, busy.json()["code"]) == (409, "idempotency_in_progress")
    assert busy.headers["retry-after"]
    lease_over(server.data_dir, "idempotency_key")
    first, again = checkout(), checkout()
    assert first.status_code == again.status_code == 200, first.text
    assert again.headers["idempotency-replayed"] == "true"
    assert first.json()["payment"]["id"] == again.json()["payment"]["id"]
    ref = first.json()["payment"]["provider_ref"]
    practice.act(ref)
    is_paid_once(practice, held, ref)
    payments = practice.ask("GET", f"/v1/payments?reservation={held['id']}")["data"]
    assert len(payments) == 1


class Customer(threading.Thread):
    """Reserves, pays, perhaps cancels, again and again; asks again with the same key wherever no answer came."""

    ALLOWED = (409, 503)

    def __init__(self, practice, starts, until_when, *, with_keys):
        super().__init__()
        self.practice, self.starts, self.until_when, self.with_keys = practice, starts, until_when, with_keys
        self.ended, self.refusals, self.strange, self.slowest = [], [], [], 0.0

    def run(self):
        try:
            while time.monotonic() < self.until_when:
                self.one()
        except Exception as error:
            self.strange.append(repr(error))

    def one(self):
        body = {"event_type": "consultation", "start": next(self.starts), "customer": ANNA}
        body["hold_seconds"] = 600
        held = self.insist("/v1/reservations", body, self.practice.publishable_key)
        path, secret = f"/v1/reservations/{held['id']}", held["client_secret"]
        opened = self.insist(f"{path}/checkout", OPENED, secret)
        assert opened["id"] == held["id"]
        ref = opened["payment"]["provider_ref"]
        self.insist(f"/sandbox/checkouts/{ref}/authorize", {}, done={409})
        cancel = random.random() < 0.4
        self.insist(f"{path}/confirm", {}, secret)
        if cancel:
            self.insist(f"{path}/cancel", {}, secret)
        self.ended.append((held, ref, cancel))

    def insist(self, path, body, key=None, done=()):
        # A verb of several transactions that died keeps its key for half a minute.
        keyed = self.with_keys or path == "/v1/reservations"
        headers = {"Idempotency_Key": uuid.uuid4().hex} if keyed else {}
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up:
            began = time.monotonic()
            try:
                answer = self.practice.call("POST", path, body, key, **headers)
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            self.slowest = max(self.slowest, time.monotonic() - began)
            if answer.status_code < 300 or answer.status_code in done:
                return answer.json()
            self.refusals.append((answer.status_code, answer.json().get("code")))
            if answer.status_code not in self.ALLOWED:
                self.strange.append((path, answer.status_code, answer.text))
            if answer.status_code == 503 and not answer.headers.get("retry-after"):
                self.strange.append((path, "503 without Retry-After"))
            time.sleep(0.1)
        raise AssertionError(f"{path} was never answered: {self.refusals[-3:]}")


class Starts:
    """Another hour for each, across threads."""

    def __init__(self, practice):
        self._practice, self._lock = practice, threading.Lock()

    def __next__(self):
        with self._lock:
            return self._practice.a_start()


def everything_ended_well(practice, customers, *, slowest=15.0):
    strange = [one for customer in customers for one in customer.strange]
    assert strange == []
    ended = [one for customer in customers for one in customer.ended]
    assert ended
    for held, ref, cancel in ended:
        if cancel:
            is_refunded_once(practice, held, ref)
        else:
            is_paid_once(practice, held, ref)
    assert max(customer.slowest for customer in customers) < slowest
    healthy = practice.server.run("doctor")
    assert healthy.returncode == 0, healthy.stdout
    return ended


@pytest.mark.slow
def test_kills_of_the_server_at_any_moment(a_server):
    server = a_server(HOLDS_PER_EMAIL_MAX="0", HOLDS_PER_ADDRESS_MAX="0").start()
    practice = open_practice(server)
    starts, end = Starts(practice), time.monotonic() + 30
    customers = [Customer(practice, starts, end, with_keys=True) for _ in range(6)]
    for one in customers:
        one.start()
    while time.monotonic() < end - 3:
        time.sleep(random.uniform(0.3, 2.5))
        server.kill()
        server.start()
    for one in customers:
        one.join()
    assert len(everything_ended_well(practice, customers)) > 10


@pytest.mark.parametrize(("seconds", "crashes"), [(6, 3), pytest.param(25, 10, marks=pytest.mark.slow)])
def test_kills_of_postgres_under_load(a_server, seconds, crashes):
    """Clients see answers, refusals to come back later, and never a 500 or silence."""
    server = a_server(HOLDS_PER_EMAIL_MAX="0", HOLDS_PER_ADDRESS_MAX="0").start()
    practice = open_practice(server)
    starts, end = Starts(practice), time.monotonic() + seconds
    customers = [Customer(practice, starts, end, with_keys=crashes > 3) for _ in range(8)]
    for one in customers:
        one.start()
    for number in range(crashes):
        time.sleep(seconds / (crashes + 1))
        victims = server.postgres()
        # The postmaster itself, and every other time a backend, which takes all others with it.
        (victims[0] if number % 2 == 0 else random.choice(victims[1:])).kill()
    for one in customers:
        one.join()
    everything_ended_well(practice, customers)
    assert "request_failed" not in server.errors
    assert server.end()[0] == 0


def test_postgres_is_killed_again_while_it_recovers(a_server):
    """Left to itself it never comes back from that: it waits for children that it does not stop."""
    server = a_server().start()
    practice = open_practice(server)
    held = practice.hold()
    killed, end = 0, time.monotonic() + 20
    server.postgres()[-1].kill()
    while killed < 2 and time.monotonic() < end:
        for one in clusters_servers(server.data_dir):
            with suppress(psutil.Error):
                if "startup" in " ".join(one.cmdline()):
                    one.kill()
                    killed += 1
    assert killed == 2
    until(lambda: practice.call("GET", f"/v1/reservations/{held['id']}").status_code == 200, "an answer", 30)
    practice.act(practice.checkout(held))
    practice.until(held, "confirmed")
    assert server.end()[0] == 0


def test_a_database_that_goes_away_and_comes_back(a_server, place):
    elsewhere = EmbeddedPostgres(place / uuid.uuid4().hex[:8])
    url = elsewhere.start()
    try:
        server, worker = (a_server(verb=verb, DATABASE_URL=url) for verb in ("serve", "worker"))
        assert server.run("migrate").returncode == 0
        server.start()
        worker.start()
        practice = Practice(server, set_up(server))
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        held = practice.hold()
        ref = practice.checkout(held)

        elsewhere.stop()
        began = time.monotonic()
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        assert httpx.get(f"{server.url}/readyz").status_code == 503
        refused = practice.call("GET", f"/v1/reservations/{held['id']}")
        assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
        assert refused.headers["retry-after"]
        for path in ("/metrics", f"/sandbox/checkouts/{ref}"):
            assert httpx.get(server.url + path).status_code == 503, path
        assert time.monotonic() - began < 5
        time.sleep(1)
        assert (server.running.poll(), worker.running.poll()) == (None, None)

        assert elsewhere.start() == url
        until(lambda: httpx.get(f"{server.url}/readyz").status_code == 200, "readiness", 5)
        practice.act(ref)
        is_paid_once(practice, held, ref)
        assert server.end()[0] == worker.end()[0] == 0
    finally:
        elsewhere.stop()
