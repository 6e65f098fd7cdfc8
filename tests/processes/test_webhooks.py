# SPDX-License-Identifier: Apache-2.0
"""A real server calls a real receiver on this machine: soon, signed, and also after a kill."""

import time
from collections.abc import Iterator

import pytest

from processes.running import open_practice, until
from webhook_receiver import Receiver, listening

SOON_SECONDS = 1.5


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as found:
        yield found


def test_a_paid_booking_is_told_within_a_second(shared, receiver) -> None:
    made = shared.ask("POST", "/v1/webhook-endpoints", {"url": receiver.url})
    began = time.monotonic()
    held = shared.hold()
    until(lambda: receiver.heard, "the hold")
    assert receiver.heard[0][0] - began < SOON_SECONDS
    shared.act(shared.checkout(held))
    shared.until(held, "confirmed")
    wanted = ["payment.captured", "reservation.confirmed", "reservation.held"]
    until(lambda: len(receiver.heard) >= len(wanted), "what was paid")
    told = {one["type"]: one for one in receiver.told(made["secret"])}
    assert sorted(told) == wanted
    assert {one["data"]["id"] for one in told.values()} == {held["id"]}
    assert told["reservation.confirmed"]["data"]["payment"]["status"] == "captured"
    shared.call("DELETE", f"/v1/webhook-endpoints/{made['id']}")


def test_a_redirect_is_not_followed(shared, receiver) -> None:
    receiver.answers = 302
    made = shared.ask("POST", "/v1/webhook-endpoints", {"url": receiver.url})
    shared.hold()
    path = f"/v1/webhook-endpoints/{made['id']}"
    found = until(
        lambda: [one for one in shared.ask("GET", f"{path}/deliveries")["data"] if one["attempts"]],
        "an attempt",
    )
    assert (found[0]["status"], found[0]["response_status"]) == ("pending", 302)
    assert all("elsewhere" not in str(headers) for _, headers, _ in receiver.heard)
    shared.call("DELETE", path)


def test_what_was_written_before_a_kill_is_told_after_it(a_server, receiver) -> None:
    server = a_server().start()
    practice = open_practice(server)
    made = practice.ask("POST", "/v1/webhook-endpoints", {"url": receiver.url})
    held = practice.hold("free")
    practice.ask("POST", f"/v1/reservations/{held['id']}/confirm", {}, held["client_secret"])
    server.kill()
    server.start()
    until(
        lambda: (
            {one["type"] for one in receiver.told(made["secret"])}
            >= {"reservation.held", "reservation.confirmed"}
        ),
        "what was written",
        seconds=75,
    )
    listed = [one["id"] for one in practice.ask("GET", "/v1/events")["data"]]
    assert set(receiver.ids) == set(listed)
    assert len(listed) == 2


def test_from_a_public_server_nothing_on_this_machine_is_called(a_server, receiver) -> None:
    server = a_server(PUBLIC_URL="https://bookings.example", ALLOW_PRIVATE="").start()
    practice = open_practice(server)
    made = practice.ask("POST", "/v1/webhook-endpoints", {"url": receiver.url})
    practice.hold()
    path = f"/v1/webhook-endpoints/{made['id']}/deliveries"
    found = until(lambda: [one for one in practice.ask("GET", path)["data"] if one["attempts"]], "an attempt")
    assert found[0]["response_status"] is None
    assert "127.0.0.1 is not called" in found[0]["error"]
    assert receiver.heard == []
