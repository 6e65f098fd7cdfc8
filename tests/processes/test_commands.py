# SPDX-License-Identifier: Apache-2.0
"""Every command, as somebody types it: what it prints where, its exit status, and how it says no."""

import asyncio
import base64
import json
import re
import subprocess
import sys
import time
import uuid
from functools import partial

import asyncpg
import httpx
import psutil
import pytest

from holdfirst import cli, demo, demo_calendars
from holdfirst.embedded_postgres import EmbeddedPostgres
from holdfirst.store import migrations
from holdfirst.store.checks import CHECKS
from processes.running import Server, command, environment, open_practice, set_up, until

COMMANDS = cli.app
KEYS = [base64.urlsafe_b64encode(bytes([number]) * 32).decode() for number in range(3)]


@pytest.fixture
def empty_dir(place):
    """A database without anything in it, joined by whatever runs meanwhile."""
    folder = place / uuid.uuid4().hex[:8]
    with EmbeddedPostgres(folder) as postgres:
        postgres.start()
        yield folder


@pytest.fixture(scope="module")
def own_server(place):
    """A PostgreSQL for named databases."""
    with EmbeddedPostgres(place / "named") as postgres:
        yield postgres.start()


@pytest.fixture
def named(own_server):
    """The URL of an empty database that is not embedded."""
    name = "d" + uuid.uuid4().hex[:8]
    run_sql(own_server, f"create database {name}")
    return own_server.replace("/postgres?", f"/{name}?")


def run_sql(url, *statements):
    async def run():
        connection = await asyncpg.connect(url)
        try:
            for one in statements:
                await connection.execute(one)
        finally:
            await connection.close()

    asyncio.run(run())


def refused(done, *words):
    """One clear line on stderr, and nothing else anywhere."""
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert done.stderr.startswith("holdfirst: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    return True


@pytest.fixture
def typed(monkeypatch, capsys):
    """The command line in this process: for commands that end before they do anything."""

    def run(*words, **settings):
        for name, value in settings.items():
            monkeypatch.setenv(f"HOLDFIRST_{name}", value)
        monkeypatch.setattr(cli, "set_up_logs", lambda: None)
        monkeypatch.setattr(cli, "app", partial(COMMANDS, words))
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(words, status, out, err)

    return run


@pytest.mark.parametrize(
    "words",
    [[], *[[one] for one in ["serve", "worker", "migrate", "accounts", "keys", "init", "doctor", "demo"]]],
)
def test_help(words, typed):
    done = typed(*words, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout
    assert done.stderr == ""
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("words", [["frobnicate"], ["serve", "--port", "x"], ["keys", "create"]])
def test_what_cannot_be_understood_fails(words, typed):
    done = typed(*words)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"HOLD_SECONDS_MIN": "soon"}, "HOLDFIRST_HOLD_SECONDS_MIN"),
        ({"HOLD_SECONDS_MIN": "60", "HOLD_SECONDS_MAX": "30"}, "above HOLDFIRST_HOLD_SECONDS_MAX"),
        ({"SECRET_KEY_FILE": "/nowhere"}, "HOLDFIRST_SECRET_KEY_FILE"),
        ({"SECRET_KEY_FILE": sys.executable}, "HOLDFIRST_SECRET_KEY_FILE"),
        ({"SECRET_KEY": "short"}, "HOLDFIRST_SECRET_KEY must be 32 random bytes"),
        ({"SECRET_KEY": KEYS[0]}, "another HOLDFIRST_SECRET_KEY"),
        ({"SMTP_URL": "http://mail"}, "HOLDFIRST_SMTP_URL"),
        ({"SMTP_URL": "smtp://mail:99999"}, "HOLDFIRST_SMTP_URL"),
        ({"MAIL_FROM": "nobody"}, "HOLDFIRST_MAIL_FROM"),
        ({"TRUSTED_PROXIES": "my-proxy"}, "HOLDFIRST_TRUSTED_PROXIES"),
        ({"DATABASE_URL": "nonsense"}, "The database cannot be used"),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "The database cannot be used"),
    ],
)
def test_settings_that_cannot_work(shared, typed, settings, said):
    assert refused(typed("doctor", "--data-dir", str(shared.server.data_dir), **settings), said)


def test_a_named_database_that_is_not_there(own_server, place):
    for url in (own_server.replace("/postgres?", "/nothing?"), own_server.replace("holdfirst@", "nobody@")):
        assert refused(command("accounts", "list", DATABASE_URL=url, DATA_DIR=str(place)), "does not exist")


def test_data_directories_that_cannot_be(named):
    assert refused(command("accounts", "list", "--data-dir", "/dev/null"), "/dev/null")
    assert command("migrate", DATABASE_URL=named).returncode == 0
    done = command("accounts", "list", "--data-dir", "/dev/null", DATABASE_URL=named)
    assert refused(done, "HOLDFIRST_SECRET_KEY", "/dev/null")


def test_ten_migrations_at_once(named):
    words = [sys.executable, "-m", "holdfirst", "migrate"]
    migrating = [
        subprocess.Popen(words, env=environment(DATABASE_URL=named), stdout=subprocess.PIPE, text=True)
        for _ in range(10)
    ]
    told = [one.communicate()[0].split() for one in migrating]
    assert [one.returncode for one in migrating] == [0] * 10
    assert sum("0001_first.sql" in one for one in told) == 1
    assert told.count(["nothing", "to", "do"]) == 9


def test_an_older_database_is_not_served_and_a_newer_one_not_put_back(named, place):
    settings = {"DATABASE_URL": named, "SECRET_KEY": KEYS[0]}
    for words in (["serve", "--port", "0"], ["serve", "--port", "0", "--workers", "2"], ["worker"]):
        assert refused(command(*words, **settings), "Run: holdfirst migrate", "0001_first.sql")
    assert command("migrate", **settings).returncode == 0
    run_sql(
        named,
        "insert into schema_migration values ('9999_later.sql', '')",
        "update schema_migration set digest = 'later' where name = 'functions.sql'",
    )
    assert command("migrate", **settings).stdout == "nothing to do\n"
    assert command("accounts", "list", **settings).returncode == 0


def test_a_server_that_is_too_old_is_refused(named, typed, monkeypatch):
    monkeypatch.setattr(migrations, "SERVER_VERSION_MIN", 99)
    assert refused(
        typed("migrate", DATABASE_URL=named), "PostgreSQL 99 or newer is needed; this server is 18"
    )


def test_keys(shared):
    server = shared.server
    made = server.run("keys", "create", "--kind", "publishable", "--origin", "https://shop.example")
    assert re.fullmatch(r"hf_pk_test_[A-Za-z0-9_-]{32}\n", made.stdout)
    secret = server.said("keys", "create", "--kind", "secret")
    assert shared.call("GET", "/v1/hosts", key=secret).status_code == 200
    listed = server.said("keys", "list").splitlines()
    assert secret not in "".join(listed)
    assert any(line.endswith("https://shop.example") for line in listed)
    key_id = listed[-1].split()[0]
    assert server.said("keys", "revoke", key_id) == f"revoked {key_id}"
    revoked_at = time.monotonic()
    until(lambda: shared.call("GET", "/v1/hosts", key=secret).status_code == 401, "the end of the key", 2)
    assert time.monotonic() - revoked_at < 1.5
    assert refused(server.run("keys", "revoke", key_id), key_id)
    assert refused(server.run("keys", "list", "--account", "nobody"))
    assert server.said("keys", "create", "--kind", "secret", "--account", "live").startswith("hf_sk_live_")


def test_accounts(shared):
    run = shared.server.run
    made = run("accounts", "create", "--slug", "second", "--mode", "live")
    assert re.fullmatch(r"acc_\w+\n", made.stdout)
    assert [line.split()[1:] for line in run("accounts", "list").stdout.splitlines()] == [
        ["test", "test"],
        ["live", "live"],
        ["second", "live"],
    ]
    assert refused(run("accounts", "create", "--slug", "second", "--mode", "live"), "slug")
    assert refused(run("accounts", "create", "--slug", "Bad Slug", "--mode", "test"), "slug")


def test_keys_at_rest_are_rotated(empty_dir, place):
    """Both keys, then sealed again, then the first one may go; links made with it go with it."""
    files = [empty_dir / f"key-{number}" for number in range(2)]
    files[0].write_text(KEYS[0] + "\n")
    files[1].write_text(f"{KEYS[1]},{KEYS[0]}\n")
    server = Server(empty_dir, settings={"SECRET_KEY_FILE": str(files[0])})
    try:
        set_up(server.start())
        practice = open_practice(server)
        held = practice.hold()
        ref = practice.checkout(held)
        assert server.end()[0] == 0

        assert refused(command("doctor", "--data-dir", str(empty_dir), SECRET_KEY=KEYS[1]), "another")
        server.settings["SECRET_KEY_FILE"] = str(files[1])
        practice = open_practice(server.start())
        assert (
            practice.call("GET", f"/v1/reservations/{held['id']}", key=held["client_secret"]).status_code
            == 200
        )
        # Without rotate-encryption the first key is still needed, and that is said before a payment needs it.
        assert refused(command("doctor", "--data-dir", str(empty_dir), SECRET_KEY=KEYS[1]), "another")
        assert server.said("keys", "rotate-encryption") == "3 sealed again"
        assert server.said("keys", "rotate-encryption") == "0 sealed again"
        assert practice.checkout(held) == ref
        assert server.end()[0] == 0

        server.settings = {"SECRET_KEY": KEYS[1]}
        practice = open_practice(server.start())
        practice.act(ref)
        practice.until(held, "confirmed")
        assert server.end()[0] == 0
        # The other way about: the first key alone opens nothing any more.
        assert refused(command("doctor", "--data-dir", str(empty_dir), SECRET_KEY=KEYS[0]), "another")
    finally:
        server.clear_away()


def test_init_prints_what_works(empty_dir):
    server = Server(empty_dir)
    for wrong in (["--origin", "shop"], ["--price", "60XYZ"], ["--price", "x"], ["--zone", "Nowhere/City"]):
        assert refused(server.run("init", *wrong))
    assert server.said("keys", "list") == ""
    told = server.said("init", "--zone", "Etc/GMT+3", "--price", "12.50EUR")
    try:
        server.start()
        ask = re.findall(r"(?m)^  (curl .*(?:(?<=\\)\n.*)*)$", told)
        assert len(ask) == 4

        def curl(line, held=None):
            line = line.replace("http://127.0.0.1:8000", server.url)
            if held:
                line = line.replace("res_…", held["id"]).replace("hf_cs_…", held["client_secret"])
            done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
            return json.loads(done.stdout)

        slots = curl(ask[0])["slots"]
        assert slots
        held = curl(ask[1])
        assert held["status"] == "held"
        assert held["start"] == slots[0]["start"]
        opened = curl(ask[2], held)
        ref = opened["payment"]["provider_ref"]
        httpx.post(f"{server.url}/sandbox/checkouts/{ref}/authorize", json={}).raise_for_status()
        assert curl(ask[3], held)["status"] == "confirmed"
        before = server.said("keys", "list")
        assert refused(server.run("init"), "init is for an empty one")
        assert server.said("keys", "list") == before
        assert server.end()[0] == 0
    finally:
        server.clear_away()


BROKEN = """
set session_replication_role = replica;
alter table reservation drop constraint nothing_is_confirmed_unpaid;
alter table claim drop constraint a_host_is_in_one_place;
create temporary table sold as select row_number() over (order by id) as number, id, paid_by from reservation;
update payment set captured_minor = 6000, refund_due_minor = 0 from sold where paid_by = payment.id and number = 1;
update reservation set paid_by = null from sold where sold.id = reservation.id and number = 1;
update payment set needs_human_code = 'capture_unanswered', needs_human_since = now()
    from sold where paid_by = payment.id and number = 2;
update payment set refund_due_minor = 1 from sold where paid_by = payment.id and number = 3;
update payment set status = 'authorized', disposition = 'void' from sold where paid_by = payment.id and number = 4;
delete from reservation using sold where sold.id = reservation.id and number = 5;
delete from claim using sold where reservation_id = sold.id and number = 6;
update claim set starts_at = starts_at - interval '90 minutes' from sold where reservation_id = sold.id and number = 4;
insert into webhook_endpoint (id, account_id, url, types, sealed_secret, created_at)
    select 'whe_1', account_id, 'https://shop.example/', '{}', sealed_credentials, now() from payment_account limit 1;
insert into webhook_delivery (id, account_id, endpoint_id, event_id, status, created_at, response_status)
    select 'whd_1', account_id, 'whe_1', 'evt_1', 'failed', now(), 500 from host limit 1;
insert into job (key, account_id, kind, subject, due_at, created_at, dead_at)
    select 'send_mail:dead', account_id, 'later_kind', 'dead', now(), now(), now() from host limit 1;
insert into job (key, account_id, kind, subject, due_at, created_at)
    select 'send_mail:late', account_id, 'later_kind', 'late', now() - interval '2 minutes', now() from host limit 1;
"""


def test_doctor(a_server):
    server = a_server().start()
    practice = open_practice(server)
    sold = [practice.hold() for _ in range(6)]
    for one in sold:
        practice.act(practice.checkout(one))
    for one in sold:
        practice.until(one, "confirmed")
        until(lambda one=one: practice.mails(one), "the mail")
    healthy = server.run("doctor")
    assert (healthy.returncode, "agree" in healthy.stdout) == (0, True), healthy.stdout
    assert server.end()[0] == 0
    with EmbeddedPostgres(server.data_dir) as postgres:
        run_sql(postgres.start(), BROKEN)
        ill = server.run("doctor")
        assert ill.returncode == 1
        assert [check for check in CHECKS if f"\n{check}: " not in "\n" + ill.stdout] == []
        assert "no worker is running" in ill.stdout
        mended = server.run("doctor", "--repair")
        assert "repair: 1 given-up jobs run again" in mended.stdout
        assert "dead_jobs" not in mended.stdout.replace("given-up", "")
        assert "two_at_once" in mended.stdout


@pytest.mark.slow
def test_demo():
    done = command("demo", "--once")
    assert done.returncode == 0, done.stdout
    assert "stories ended as promised" in done.stdout
    assert done.stderr == ""


def test_the_demo_shows_one_hold_in_two_calendars(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(demo, "STORIES", [])
    monkeypatch.setattr(demo.signal, "signal", lambda *_: None)
    monkeypatch.setattr(demo.tempfile, "tempdir", str(tmp_path))
    assert demo.run_demo(once=True, port=0) is True
    said = capsys.readouterr().out
    for server in ("Radicale", "Xandikos"):
        assert re.search(rf"{server} +shows +tentative: Hold: Consultation", said), said
    assert re.search(r"Radicale +shows +confirmed: Ada", said)
    assert re.search(r"Xandikos +shows +nothing", said)
    assert "gone from both calendars" in said
    # Nothing that was started is left.
    assert not [
        one for one in psutil.Process().children(recursive=True) if "holdfirst-demo-" in str(one.cmdline())
    ]


def test_the_demo_does_without_calendar_servers_that_are_not_there(monkeypatch):
    monkeypatch.setattr(demo_calendars, "find_spec", lambda _: None)
    said: list[str] = []
    assert demo_calendars.calendar_stories(said.append) == []
    assert "holdfirst[demo]" in said[0]


def test_demo_with_a_broken_story_fails(monkeypatch, capsys, tmp_path):
    def broken(stage):
        stage.expect(False, "the moon is made of cheese", "stone")

    monkeypatch.setattr(demo, "STORIES", [("broken", broken)])
    monkeypatch.setattr(demo, "calendar_stories", lambda _: [])
    monkeypatch.setattr(demo.signal, "signal", lambda *_: None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert demo.run_demo(once=True, port=0) is False
    assert "BROKEN: the moon is made of cheese — seen: stone" in capsys.readouterr().out
