# SPDX-License-Identifier: Apache-2.0
"""`serve` and `worker` as processes: how they start, how they end, and what happens when somebody kills them."""

import base64
import os
import signal
import socket
import subprocess
import threading
import time

import httpx
import psutil
import pytest

from processes.running import clusters_servers, command, open_practice, postmaster, until

BOTH = pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])


def family_is_gone(family):
    return not [one for one in psutil.wait_procs(family, timeout=2)[1] if one.is_running()]


@BOTH
def test_says_where_it_listens_and_ends_in_good_order_whatever_is_open(a_server, by):
    """An event stream, an idle connection, a confirm that waits and a capture that is slow."""
    server = a_server().start()
    practice = open_practice(server)
    assert server.first_line == f"holdfirst listening on http://127.0.0.1:{server.port}\n"
    held, waiting = practice.hold(), practice.hold()
    ref, slow = practice.checkout(held), practice.checkout(waiting)
    practice.fault("capture", "slow", 9)
    answers = []

    def confirm():
        path = f"/v1/reservations/{waiting['id']}/confirm"
        answers.append(practice.call("POST", path, {}, waiting["client_secret"]))

    stream_url = f"{server.url}/v1/event-types/consultation/slots/stream?key={practice.publishable_key}"
    idle = httpx.Client(base_url=server.url)
    idle.get("/healthz")
    with httpx.stream("GET", stream_url, timeout=20) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry")
        practice.act(ref)
        practice.act(slow)
        asking = threading.Thread(target=confirm)
        asking.start()
        time.sleep(0.3)
        family = server.family()
        assert len(family) > 5
        status, seconds = server.end(by)
        list(lines)
    asking.join()
    assert (status, seconds < 10) == (0, True), seconds
    assert family_is_gone(family)
    assert answers[0].status_code in (200, 409), answers[0].text
    assert "Traceback" not in server.errors
    idle.close()

    practice = open_practice(server.start())
    for one, its_ref in ((held, ref), (waiting, slow)):
        practice.until(one, "confirmed")
        assert practice.ledger(its_ref)["captured"] == 6000


def test_who_waits_longer_than_a_server_takes_to_end_is_told_to_ask_again(a_server):
    server = a_server().start()
    practice = open_practice(server)
    held = practice.hold()
    practice.act(practice.checkout(held), notify="never")
    practice.fault("capture", "lost_before", 99)
    answers = []

    def confirm():
        path = f"/v1/reservations/{held['id']}/confirm"
        answers.append(practice.call("POST", path, {}, held["client_secret"], Idempotency_Key="once"))

    asking = threading.Thread(target=confirm)
    asking.start()
    practice.until(held, "processing")
    status, seconds = server.end()
    asking.join()
    assert (status, seconds < 10) == (0, True), seconds
    assert answers[0].status_code == 503, answers[0].text
    assert answers[0].headers["retry-after"]


def test_a_job_that_takes_too_long_is_handed_back(a_server):
    """A mail server that takes a connection and never says a word."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        server = a_server(SMTP_URL=f"smtp://127.0.0.1:{silent.getsockname()[1]}").start()
        practice = open_practice(server)
        held = practice.hold("free")
        practice.ask("POST", f"/v1/reservations/{held['id']}/confirm", {}, held["client_secret"])
        silent.settimeout(5)
        connection, _ = silent.accept()
        status, seconds = server.end()
        connection.close()
    assert (status, seconds < 10) == (0, True), seconds
    del server.settings["SMTP_URL"]
    practice = open_practice(server.start())
    until(lambda: len(practice.mails(held)) == 1, "the mail", 5)


@BOTH
@pytest.mark.parametrize("after", [0.8, 1.2])
def test_a_signal_while_it_starts_ends_it_too(a_server, by, after):
    server = a_server()
    server.launch()
    time.sleep(after)
    status, seconds = server.end(by)
    assert seconds < 5
    # Before Python runs a line of ours the signal's own meaning holds.
    assert status in (0, 130, -by)
    assert until(lambda: not clusters_servers(server.data_dir), "the end of PostgreSQL")


def test_workers_share_the_socket_and_a_killed_one_is_replaced(a_server):
    server = a_server("--workers", "3").start()
    practice = open_practice(server)
    parent = psutil.Process(server.pid)

    def serving():
        return {one for one in parent.children() if one.name() != "postgres"}

    before = until(lambda: len(serving()) == 3 and serving(), "three of them")
    victim = next(iter(before))
    victim.kill()
    until(lambda: len(serving() - {victim}) == 3, "another one")
    held = practice.hold()
    practice.act(practice.checkout(held))
    practice.until(held, "confirmed")
    until(lambda: len(practice.mails(held)) == 1, "the mail")
    family = server.family()
    status, seconds = server.end()
    assert (status, seconds < 10) == (0, True), seconds
    assert family_is_gone(family)


def test_when_the_parent_is_killed_all_end_and_the_next_start_works(a_server):
    server = a_server("--workers", "2").start()
    practice = open_practice(server)
    held = practice.hold()
    family = server.family()
    server.kill()
    assert not psutil.wait_procs(family, timeout=10)[1]
    practice = open_practice(server.start())
    assert practice.read(held)["status"] == "held"
    assert server.end()[0] == 0


def test_children_that_could_not_start_are_not_started(a_server):
    key = base64.urlsafe_b64encode(b"x" * 32).decode()
    server = a_server("--workers", "2", SECRET_KEY=key)
    told, _ = server.launch().communicate(timeout=20)
    assert (server.running.returncode, told) == (1, "")
    assert "another HOLDFIRST_SECRET_KEY" in server.errors
    assert server.errors.count("\n") == 1


def test_no_worker_leaves_the_effects_to_worker_processes(a_server):
    server = a_server("--no-worker").start()
    practice = open_practice(server)
    held = practice.hold()
    practice.act(practice.checkout(held))
    time.sleep(0.5)
    assert practice.read(held)["status"] == "held"
    assert httpx.get(f"{server.url}/readyz").json()["worker"] == "missing"
    workers = [a_server(verb="worker").start() for _ in range(3)]
    assert workers[0].first_line == "holdfirst worker running\n"
    practice.until(held, "confirmed")
    many = [practice.hold() for _ in range(10)]
    refs = [practice.checkout(one) for one in many]
    for ref in refs:
        practice.act(ref)
    for one, ref in zip(many, refs, strict=True):
        practice.until(one, "confirmed")
        books = practice.ledger(ref)
        assert books["captured"] == 6000
    until(lambda: all(len(practice.mails(one)) == 1 for one in many), "a mail each")
    workers[0].kill()
    assert [worker.end()[0] for worker in workers[1:]] == [0, 0]
    assert practice.server.end()[0] == 0


@pytest.mark.parametrize("victim", ["server", "postmaster", "backend"])
def test_goes_on_after_any_of_its_processes_is_killed(a_server, victim):
    server = a_server().start()
    practice = open_practice(server)
    held = practice.hold()
    if victim == "server":
        server.kill()
        server.start()
        practice = open_practice(server)
    else:
        master = postmaster(server.data_dir)
        (master if victim == "postmaster" else master.children()[-1]).kill()
    told = until(lambda: (answer := _read(practice, held)).status_code == 200 and answer, "an answer")
    assert told.json()["status"] == "held"
    practice.act(practice.checkout(held))
    practice.until(held, "confirmed")
    assert server.end()[0] == 0


def _read(practice, held):
    answer = practice.call("GET", f"/v1/reservations/{held['id']}")
    assert answer.status_code in (200, 503), answer.text
    assert answer.status_code == 200 or answer.headers["retry-after"]
    return answer


def test_a_stale_pid_file_that_names_a_living_stranger_is_nobody(a_server):
    server = a_server().start()
    server.kill()
    until(lambda: not clusters_servers(server.data_dir), "the end of PostgreSQL")
    with subprocess.Popen(["sleep", "60"]) as stranger:
        pid_file = server.data_dir / "postgres" / "postmaster.pid"
        lines = pid_file.read_text().splitlines() if pid_file.exists() else ["", str(pid_file.parent), "1"]
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:], ""]))
        assert open_practice(server.start()).hold()["status"] == "held"
        assert server.end()[0] == 0
        assert stranger.poll() is None
        stranger.kill()


def test_a_port_in_use_is_said(a_server, data_dir):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = command("serve", "--port", str(port), "--data-dir", str(data_dir))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"holdfirst: Cannot listen on 127.0.0.1 port {port}")
    assert done.stderr.count("\n") == 1


def test_a_second_server_joins_the_database_and_takes_it_over(a_server):
    first, second = a_server().start(), a_server().start()
    here, there = open_practice(first), open_practice(second)
    held = here.hold()
    assert there.read(held)["status"] == "held"
    key = second.said("keys", "create", "--kind", "secret")
    assert here.call("GET", "/v1/hosts", key=key).status_code == 200
    assert first.end()[0] == 0
    until(lambda: _read(there, held).status_code == 200, "the second one's own database")
    there.act(there.checkout(held))
    there.until(held, "confirmed")
    family = second.family()
    assert second.end()[0] == 0
    assert family_is_gone(family)


def test_an_address_of_version_6_is_told_as_urls_have_it(a_server):
    server = a_server("--host", "::1").start()
    assert server.url == f"http://[::1]:{server.port}"
    assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_sigterm_of_everything_at_once_as_a_terminal_or_supervisor_does(a_server):
    server = a_server("--workers", "2").start()
    family = server.family()
    ours = [one for one in family if one.name() != "postgres"]
    assert len(ours) == 3
    for one in ours:
        os.kill(one.pid, signal.SIGTERM)
    assert server.end()[0] == 0
    assert family_is_gone(family)
