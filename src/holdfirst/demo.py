# SPDX-License-Identifier: Apache-2.0
"""`holdfirst demo`: the stories that holdfirst is for, over real HTTP against real time, on a throw-away database.

Each line is `T+seconds  who  what  answer`; each story ends with whether it ended as promised.
"""

import asyncio
import contextlib
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from holdfirst.demo_calendars import calendar_stories
from holdfirst.demo_site import SAMPLE, embedding_site, where_to_try
from holdfirst.demo_stage import SHORT_HOLD_SECONDS, Promised, Server, Stage, Story
from holdfirst.embedded_postgres import EmbeddedPostgres
from holdfirst.errors import HoldfirstError
from holdfirst.store.database import Database
from holdfirst.store.payments import last_notification


def collision(stage: Stage) -> None:
    held = stage.hold("A")
    stage.expect(not stage.free(), "B no longer sees 9:00")
    stage.say("B", "looks at that day", "9:00 is not offered")
    refused = stage.reserve("B")
    stage.expect(refused.json().get("code") == "slot_taken", "B is refused", refused.text)
    left = len(refused.json()["slots"])
    stage.say("B", "tries 9:00 all the same", f"409 slot_taken, {left} other times that day")
    stage.expect(left == 7, "B is told what is left", left)
    stage.act("A", stage.checkout("A", held), "authorize")
    stage.until(held, "confirmed")
    stage.say("A", "is", "confirmed")


def abandoned(stage: Stage) -> None:
    held = stage.hold("A", seconds=SHORT_HOLD_SECONDS)
    stage.say("A", "never pays", "")
    over = datetime.fromisoformat(held["held_until"])
    time.sleep(max(0, (over - datetime.now(UTC)).total_seconds() - 0.1))
    while (answer := stage.reserve("B")).status_code != 201:
        stage.expect(answer.status_code == 409, "B is refused until then", answer.text)
        stage.expect(datetime.now(UTC) < over + timedelta(seconds=2), "the slot comes back")
    taken = answer.json()
    late = (datetime.fromisoformat(taken["created_at"]) - over) / timedelta(milliseconds=1)
    stage.expect(late >= 0, "never before", late)
    stage.say("B", "reserves 9:00 again and again", f"held, {late:.0f} ms after A's time was up")
    stage.expect(stage.read(held)["status"] == "expired", "A's hold reads expired")


def late_and_free(stage: Stage) -> None:
    held = stage.hold("A", seconds=SHORT_HOLD_SECONDS)
    ref = stage.checkout("A", held)
    stage.until(held, "expired")
    stage.say("clock", "the hold runs out", "expired")
    stage.act("A", ref, "authorize", force=True)
    paid = stage.until(held, "confirmed")
    stage.expect(paid["payment"]["late"] == "retaken", "the time was taken again", paid["payment"])
    stage.say("A", "the slot was still free", "taken again, captured, confirmed")


def late_and_sold(stage: Stage) -> None:
    held = stage.hold("A", seconds=SHORT_HOLD_SECONDS)
    ref = stage.checkout("A", held)
    stage.until(held, "expired")
    stage.say("clock", "the hold runs out", "expired")
    stage.hold("B")
    stage.act("A", ref, "authorize", force=True)
    after = stage.until_true(held, lambda found: found["payment"]["status"] == "voided", "the void")
    stage.expect(
        after["status"] == "expired" and after["payment"]["late"] == "voided", "A has no slot", after
    )
    books = stage.ledger(ref)
    stage.expect(books["captured"] == 0, "nothing was captured", books)
    stage.say("A", "the slot is B's", "voided: never charged")


def late_sale_and_sold(stage: Stage) -> None:
    held = stage.hold("A", "consultation-by-bank", SHORT_HOLD_SECONDS)
    ref = stage.checkout("A", held)
    stage.until(held, "expired")
    stage.say("clock", "the hold runs out", "expired")
    stage.hold("B")
    stage.act("A", ref, "pay", force=True)
    stage.until_true(held, lambda found: found["payment"]["status"] == "refunded", "the refund")
    books = stage.ledger(ref)
    stage.expect(books["captured"] == books["refunded"] == 6000, "all of it went back", books)
    stage.say("A", "the slot is B's", "refunded in full: 60.00 EUR")


def nervous(stage: Stage) -> None:
    held = stage.hold("A")
    ref = stage.checkout("A", held)
    stage.act("A", ref, "authorize")
    path, headers, body = _last_notification(stage.server)
    for _ in range(5):
        stage.http.post(path, headers=headers, content=body).raise_for_status()
    stage.say("provider", "the same notification, five times more", "200 each")
    for _ in range(3):
        stage.http.get(f"/r/{held['id']}")
    stage.say("A", "loads the return page three times", "")
    with ThreadPoolExecutor(2) as pool:
        path = f"/v1/reservations/{held['id']}/confirm"
        both = list(
            pool.map(lambda _: stage.call("POST", path, {}, held["client_secret"]).status_code, range(2))
        )
    stage.expect(both == [200, 200], "both are told it is confirmed", both)
    stage.say("A", "confirms twice at once", "200 and 200")
    _one_mail(stage, held)
    books = stage.ledger(ref)
    stage.expect(books["captured"] == 6000, "captured once", books)
    stage.say("A", "has", "one reservation, one charge, one mail")


def closed_tab(stage: Stage) -> None:
    held = stage.hold("A")
    ref = stage.checkout("A", held)
    stage.act("A", ref, "authorize", notify="never")
    stage.say("A", "closes the tab; no notification comes", "")
    stage.until(held, "confirmed", seconds=25)
    stage.say("A", "is, all the same", "confirmed")
    _one_mail(stage, held)


def crash(stage: Stage) -> None:
    held = stage.hold("A")
    ref = stage.checkout("A", held)
    stage.act("A", ref, "authorize", notify="never")
    stage.server.kill()
    stage.say("server", "kill -9, between payment and confirmation", "gone")
    stage.server.start()
    stage.say("server", "started again", "listening")
    stage.until(held, "confirmed")
    stage.say("A", "is", "confirmed")
    _one_mail(stage, held)
    stage.expect(stage.ledger(ref)["captured"] == 6000, "captured once")


STORIES: list[Story] = [
    ("1. The collision: two customers, one slot", collision),
    ("2. Abandoned: the slot is back at the very instant", abandoned),
    ("3a. Late payment, the slot still free", late_and_free),
    ("3b. Late payment, the slot sold: authorised, never captured", late_and_sold),
    ("3c. Late payment by bank, the slot sold: refunded", late_sale_and_sold),
    ("4. The nervous customer", nervous),
    ("5. The closed tab", closed_tab),
    ("6. The crash", crash),
]


def _one_mail(stage: Stage, held: dict[str, Any]) -> None:
    time.sleep(0.5)
    mails = stage.mails_about(held)
    stage.expect(len(mails) == 1 and mails[0].startswith("Confirmed"), "one mail", mails)
    stage.say("A", "has in the letter box", "one mail")


def _last_notification(server: Server) -> tuple[str, dict[str, str], bytes]:
    """The provider's own bytes, as they were stored, to be sent again."""

    async def read(url: str) -> tuple[str, dict[str, str], bytes]:
        database = Database(url, connections_max=2)
        await database.open()
        try:
            return await database.run(last_notification)
        finally:
            await database.close()

    with EmbeddedPostgres(server.data_dir) as embedded:
        return asyncio.run(read(embedded.start()))


def run_demo(*, once: bool, port: int, more: Sequence[Story] = ()) -> bool:
    """Play all stories, and `more`; answers whether each ended as promised. Without `once`, stays up afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="holdfirst-demo-") as folder,
        _stopped_at_end(Server(Path(folder), port)) as server,
    ):
        _print("holdfirst demo: a throw-away database, a real server, the sandbox as payment provider.")
        stories = [*STORIES, *calendar_stories(_print), *more]
        server.start()
        stage = Stage(server, _print)
        stage.set_up()
        kept = sum(_play(stage, title, story) for title, story in stories)
        _print(f"\n{kept} of {len(stories)} stories ended as promised.")
        if not once:
            _stay(stage)
        return kept == len(stories)


def _play(stage: Stage, title: str, story: Callable[[Stage], None]) -> bool:
    stage.story(title)
    try:
        story(stage)
    except (Promised, httpx.HTTPError, KeyError, HoldfirstError) as broken:
        stage.out(f"  BROKEN: {broken}")
        return False
    stage.out("  as promised")
    return True


def _stay(stage: Stage) -> None:
    own = {"hosts": [stage.host["id"]], "payment_account": stage.payee}
    stage.ask("POST", "/v1/event-types", SAMPLE | own)
    with embedding_site(stage.server.url, page := f"test/{SAMPLE['slug']}") as site:
        keys = {"secret": stage.secret_key, "publishable": stage.publishable_key}
        _print(where_to_try(stage.server.url, keys, page, site))
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


@contextlib.contextmanager
def _stopped_at_end(server: Server) -> Iterator[Server]:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield server
    finally:
        server.stop()


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # what the command is for
