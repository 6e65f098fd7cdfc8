# SPDX-License-Identifier: Apache-2.0
"""The PostgreSQL inside the data directory: started, joined, restarted and stopped.

One supervisor per cluster, decided by `flock` on `<cluster>.lock`: the kernel drops that lock with its
holder, so it cannot go stale as a pid file can. Whoever does not get the lock joins the running server.

    postgres/            the cluster; its Unix socket lies inside
    postgres.lock        held while somebody supervises
    postgres.log         what the server says; 10 MB, then it moves to postgres.log.1
    postgres.elsewhere   only where the cluster had to be put outside (`postgres_installation.py`)

Authentication is `trust`, and there is no TCP. To reach the socket one must enter the cluster's directory,
which is 0700 and which PostgreSQL refuses to use with wider permissions: who gets that far could read
the files themselves, so a password would protect nothing.
"""

import asyncio
import fcntl
import hashlib
import logging
import os
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import asyncpg

from holdfirst.errors import EmbeddedPostgresError
from holdfirst.postgres_installation import (
    Installation,
    choose_installation,
    create_cluster,
    environment,
    remove_half_made,
    version,
)

_log = logging.getLogger(__name__)

_RECOVERY_SECONDS_MAX = 600  # replaying a long log after a crash is work, not a fault
_ORPHAN_SECONDS = 5  # a server whose supervisor was killed is already on its way out
_STOP_SECONDS = 60
_LOG_BYTES_MAX = 10 * 1024 * 1024
_SOCKET_PATH_BYTES_MAX = 107
_SOCKET = ".s.PGSQL.5432"

# On the command line, where neither postgresql.conf nor ALTER SYSTEM can weaken them.
_SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # After a crash we start it afresh. By itself it would wait for ever, should its recovery be killed as well.
    "restart_after_crash": "off",
    "listen_addresses": "",
    # Relative to the cluster: however deep that lies, the path the server binds stays short.
    "unix_socket_directories": ".",
    "unix_socket_permissions": "0700",
    "port": "5432",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "logging_collector": "off",  # it would write past our bounded log
}


class EmbeddedPostgres:
    """Runs the cluster in `data_dir`, or joins whoever runs it. Every method may be called from any thread.

    Raises `EmbeddedPostgresError`. The DSN is the same on every start, so pools reconnect by themselves.
    """

    def __init__(self, data_dir: Path) -> None:
        self._home = data_dir.resolve()
        self._turn = threading.Lock()
        self._installation: Installation | None = None  # None before start and after stop
        self._lock: int | None = None  # a descriptor while we supervise; None when joined
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Create the cluster if there is none, start or join its server; answers the DSN once it accepts."""
        with self._turn, _in_words(self._home):
            if self._installation is None:
                self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
                installation = choose_installation(self._home)
                try:
                    self._start_or_join(installation)
                except BaseException:
                    self._release()
                    raise
                self._installation = installation
            return _dsn(self._installation.cluster)

    def ensure_running(self) -> None:
        """Restart the server if it died; if the one we joined is gone, take its place.

        For a caller that asks every second or so: 50 µs while the server runs, a crash recovery when not.
        """
        with self._turn, _in_words(self._home):
            if self._installation is None:
                return
            cluster = self._installation.cluster
            _socket_dir(cluster)  # puts the short link back, should somebody have tidied /tmp
            if self._child is not None and self._child.poll() is None:
                _bound_log(self._home / "postgres.log")
            elif self._take_lock(cluster):
                _log.warning("PostgreSQL in %s is gone; starting it again", cluster)
                self._run_server(self._installation)

    def stop(self) -> None:
        """Stop the server if this object started it, and wait for that. Safe to repeat."""
        with self._turn:
            self._installation = None
            self._release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_or_join(self, installation: Installation) -> None:
        cluster = installation.cluster
        give_up = time.monotonic() + _RECOVERY_SECONDS_MAX
        while not self._take_lock(cluster):
            if _accepts(cluster):
                return
            if time.monotonic() > give_up:
                raise EmbeddedPostgresError(
                    f"Another holdfirst supervises {cluster} but its PostgreSQL does not answer;"
                    f" see {self._home / 'postgres.log'}."
                )
            time.sleep(0.05)
        remove_half_made(cluster)
        # Here and not in `_run_server`: a restart must never put an empty cluster in a lost one's place.
        if not (cluster / "PG_VERSION").exists():
            create_cluster(installation)
        if cluster.parent != self._home:
            with suppress(FileExistsError):
                (self._home / "postgres.elsewhere").symlink_to(cluster)
        self._run_server(installation)

    def _take_lock(self, cluster: Path) -> bool:
        if self._lock is None:
            # Beside the cluster, so that two ways to one cluster meet in one lock. Never unlinked: a
            # lock on a file that has lost its name excludes nobody.
            lock = os.open(cluster.with_name(cluster.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(lock)
                if not isinstance(error, BlockingIOError):
                    raise
                return False
            self._lock = lock
        return True

    def _run_server(self, installation: Installation) -> None:
        """Start PostgreSQL and wait until it accepts. We hold the lock."""
        cluster, log = installation.cluster, self._home / "postgres.log"
        _refuse_other_version(cluster)
        _outlast_orphans(cluster)
        _bound_log(log)
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as sink:
            log_start = sink.tell()
            self._child = _spawn(
                installation.command("postgres", "-D", str(cluster), *settings), sink.fileno()
            )
        self._await_ready(cluster, log, log_start)

    def _await_ready(self, cluster: Path, log: Path, log_start: int) -> None:
        assert self._child is not None
        began = time.monotonic()
        next_word = began + 5
        while not _accepts(cluster):
            if self._child.poll() is not None:
                free = shutil.disk_usage(cluster).free // 2**20
                raise EmbeddedPostgresError(
                    f"PostgreSQL in {cluster} ended while starting (status {self._child.returncode},"
                    f" {free} MB free on its disk). It said, in {log}:\n{_tail(log, log_start)}"
                )
            now = time.monotonic()
            if now > began + _RECOVERY_SECONDS_MAX:
                raise EmbeddedPostgresError(
                    f"PostgreSQL in {cluster} did not accept connections within"
                    f" {_RECOVERY_SECONDS_MAX // 60} minutes; see {log}."
                )
            if now > next_word:
                _log.info("waiting for PostgreSQL in %s, %d s so far (crash recovery?)", cluster, now - began)
                next_word = now + 30
            time.sleep(min(0.5, 0.02 + (now - began) / 10))  # each try is a line in the log

    def _release(self) -> None:
        """Stop our server, if any, and only then let others have the cluster."""
        if self._child is not None:
            self._child.send_signal(signal.SIGINT)  # "fast": transactions are rolled back, all is written
            try:
                self._child.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.send_signal(signal.SIGQUIT)  # "immediate": the next start recovers
                self._child.wait()  # postgres kills its own stragglers 5 s after SIGQUIT
            self._child = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


# Starting.


def _spawn(command: list[str], sink: int) -> subprocess.Popen[bytes]:
    """Start a child from a thread that lives as long as the child.

    The kernel's "parent died" means the *thread* that forked, and ours may come from a short-lived pool.
    """
    spawned: Future[subprocess.Popen[bytes]] = Future()

    def keep() -> None:
        try:
            child = subprocess.Popen(  # noqa: S603  our own words
                command,
                cwd="/",
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we stop PostgreSQL when we no longer need it
            )
        except OSError as error:
            spawned.set_exception(error)
            return
        spawned.set_result(child)
        with suppress(ChildProcessError):  # WNOWAIT: reaping is Popen's, or send_signal could hit a stranger
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    threading.Thread(target=keep, name="embedded-postgres", daemon=True).start()
    return spawned.result()


def _refuse_other_version(cluster: Path) -> None:
    theirs = (cluster / "PG_VERSION").read_text(encoding="utf-8", errors="replace").strip()
    ours = version().partition(".")[0]
    if theirs != ours:
        raise EmbeddedPostgresError(
            f"{cluster} was written by PostgreSQL {theirs}; this holdfirst brings PostgreSQL {ours}. With the"
            f" holdfirst that wrote it run: holdfirst backup. Move {cluster} away and, with this one, run:"
            " holdfirst restore"
        )


# What a crash leaves behind.


def _outlast_orphans(cluster: Path) -> None:
    """Wait for a server that lost its supervisor, then disown what it left.

    We hold the lock, so nobody supervises; a postmaster.pid is then stale, or names an orphan that the
    kernel has told to stop. The number in it proves nothing: pids repeat.
    """
    names = [cluster / "postmaster.pid", cluster / f"{_SOCKET}.lock"]
    if not any(path.exists() for path in names):
        return
    began, asked = time.monotonic(), False
    while (orphans := list(_servers(cluster))) or _listens(cluster):
        waited = time.monotonic() - began
        if waited > _ORPHAN_SECONDS and not asked:
            asked = True
            for pid in orphans:
                _ask_to_stop(pid, cluster)
        if waited > _ORPHAN_SECONDS + _STOP_SECONDS:
            raise EmbeddedPostgresError(
                f"A PostgreSQL that nobody supervises still runs on {cluster} ({orphans or 'not visible'} here)"
                " and does not stop. Stop it, then start again."
            )
        time.sleep(0.05)
    for path in filter(Path.exists, names):
        # Not removed: under its parent's pid PostgreSQL takes the file for stale, whatever lives under the
        # old one, but still checks the shared memory that it names.
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[1:]
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW), "w") as lock:
            lock.write("\n".join([str(os.getpid()), *lines, ""]))


def _servers(cluster: Path) -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _serves(entry, cluster))


def _serves(entry: Path, cluster: Path) -> bool:
    """Whether /proc/<pid> runs an executable named postgres inside the cluster."""
    with suppress(OSError):  # it ended, it is a zombie, or it is none of our business
        program = (entry / "exe").readlink().name.removesuffix(" (deleted)")  # the wheel was upgraded
        return program == "postgres" and (entry / "cwd").samefile(cluster)
    return False


def _ask_to_stop(pid: int, cluster: Path) -> None:
    """SIGINT to the postmaster, SIGTERM to those it left; through a pidfd, so nobody else can be hit."""
    with suppress(ProcessLookupError, FileNotFoundError):  # it ended by itself
        pidfd = os.pidfd_open(pid)
        try:
            if _serves(Path(f"/proc/{pid}"), cluster):
                first = (cluster / "postmaster.pid").read_text(encoding="utf-8", errors="replace")
                is_postmaster = first.startswith(f"{pid}\n")
                signal.pidfd_send_signal(pidfd, signal.SIGINT if is_postmaster else signal.SIGTERM)
        finally:
            os.close(pidfd)


# Reaching it.


def _dsn(cluster: Path) -> str:
    return f"postgresql://holdfirst@/postgres?host={quote(str(_socket_dir(cluster)))}&port=5432"


def _socket_dir(cluster: Path) -> Path:
    """The cluster, or a short link to it: a socket's path has a limit, and a comma would split a DSN."""
    if len(os.fsencode(cluster / _SOCKET)) <= _SOCKET_PATH_BYTES_MAX and "," not in str(cluster):
        return cluster
    # Not gettempdir(): every command must find the same place, whatever its TMPDIR.
    private = Path(f"/tmp/holdfirst-{os.geteuid()}")  # noqa: S108  checked to be ours below
    private.mkdir(mode=0o700, exist_ok=True)
    found = private.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise EmbeddedPostgresError(
            f"{private} is not a private directory of ours. Remove it, or use a shorter data directory."
        )
    link = private / hashlib.sha256(os.fsencode(cluster)).hexdigest()[:16]
    with suppress(FileExistsError):
        link.symlink_to(cluster)
    return link


def _accepts(cluster: Path) -> bool:
    """Whether a connection works: the only readiness there is."""

    async def connect() -> None:
        connection = await asyncpg.connect(_dsn(cluster), timeout=10)
        await connection.close()

    try:
        with ThreadPoolExecutor(1) as apart:  # the caller's thread may have an event loop of its own
            apart.submit(asyncio.run, connect()).result()
    except asyncpg.TooManyConnectionsError:
        return True
    except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
        return False
    return True


def _listens(cluster: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, suppress(FileNotFoundError, ConnectionRefusedError):
        probe.connect(str(_socket_dir(cluster) / _SOCKET))
        return True
    return False


def _bound_log(log: Path) -> None:
    with suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_BYTES_MAX:
            shutil.copy(log, log.with_name(log.name + ".1"))
            os.truncate(log, 0)  # the server appends, so it goes on at the new end


def _tail(log: Path, start: int) -> str:
    with log.open("rb") as lines:
        lines.seek(max(start, lines.seek(0, os.SEEK_END) - 2000))
        return lines.read().decode(errors="replace").strip() or "(nothing)"


@contextmanager
def _in_words(home: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, asyncpg.PostgresError) as error:
        raise EmbeddedPostgresError(f"The data directory {home} cannot be used: {error}") from error
