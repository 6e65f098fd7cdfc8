# SPDX-License-Identifier: Apache-2.0
"""`serve` and `worker` as processes: the database under them, the web in front, the jobs beside, an orderly end."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from types import FrameType

import structlog
import uvicorn

from holdfirst import wiring
from holdfirst.embedded_postgres import EmbeddedPostgres
from holdfirst.errors import ConfigurationError, HoldfirstError
from holdfirst.settings import Settings

log = structlog.get_logger(__name__)

GRACE_SECONDS = 4
INHERITED = "HOLDFIRST_INHERITED"
"""Set by a parent `serve` for its children: `listening socket,life line` as file descriptors."""


@contextlib.contextmanager
def database(settings: Settings) -> Iterator[tuple[str, EmbeddedPostgres | None]]:
    """The URL of the database to use: the one named, or the embedded one, started or joined."""
    if settings.database_url:
        yield settings.database_url, None
        return
    with EmbeddedPostgres(settings.data_dir) as embedded:
        yield embedded.start(), embedded


def serve(settings: Settings, *, host: str, port: int, workers: int, run_worker: bool) -> None:
    """Until SIGTERM or SIGINT; ends within ten seconds, with no process left."""
    _end_on_signals()
    if inherited := os.environ.pop(INHERITED, None):
        listener, life_line = (int(number) for number in inherited.split(","))
        _watch(life_line)
        asyncio.run(
            _serve(settings, settings.database_url or "", None, socket.socket(fileno=listener), run_worker)
        )
        return
    with _listen(host, port) as listening, database(settings) as (url, embedded):
        bound_host, bound_port = listening.getsockname()[:2]
        named = "localhost" if bound_host in ("0.0.0.0", "::") else bound_host  # noqa: S104  # a comparison
        settings = settings.model_copy(
            update={"public_url": (settings.public_url or f"http://{named}:{bound_port}").rstrip("/")}
        )
        if embedded is not None:
            asyncio.run(wiring.prepare(url))
        announce = f"holdfirst listening on http://{bound_host}:{bound_port}"
        if workers > 1:
            _serve_by_children(settings, url, embedded, listening, workers, run_worker, announce)
        else:
            _run(_serve(settings, url, embedded, listening, run_worker, announce))


def work(settings: Settings) -> None:
    """Effects only, until SIGTERM or SIGINT."""
    _end_on_signals()
    with database(settings) as (url, embedded):
        _run(_work(settings, url, embedded))


def _run(main: object) -> None:
    try:
        import uvloop  # noqa: PLC0415  # not everywhere

        uvloop.run(main)  # type: ignore[arg-type]
    except ImportError:
        asyncio.run(main)  # type: ignore[arg-type]


async def _serve(
    settings: Settings,
    url: str,
    embedded: EmbeddedPostgres | None,
    listening: socket.socket,
    run_worker: bool,
    announce: str | None = None,
) -> None:
    assert settings.public_url is not None
    async with wiring.open_parts(settings, url, settings.public_url) as parts, _kept_running(embedded):
        closing = asyncio.Event()
        server = _Server(
            uvicorn.Config(
                wiring.web_app(parts, closing),
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
                backlog=4096,
            )
        )
        server.closing = closing
        worker = wiring.worker(parts)
        working = asyncio.create_task(worker.run()) if run_worker else None
        announcing = asyncio.create_task(_announce(server, announce))
        try:
            await server.serve(sockets=[listening])
        finally:
            announcing.cancel()
            worker.stop()
            if working is not None:
                await working


class _Server(uvicorn.Server):
    """uvicorn waits for open connections before it tells the application anything: streams are told here."""

    closing: asyncio.Event

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.closing.set()
        super().handle_exit(sig, frame)


async def _announce(server: uvicorn.Server, announce: str | None) -> None:
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    if announce:
        print(announce, flush=True)  # noqa: T201  # the contract's line, on stdout


async def _work(settings: Settings, url: str, embedded: EmbeddedPostgres | None) -> None:
    public_url = (settings.public_url or "http://127.0.0.1:8000").rstrip("/")
    async with wiring.open_parts(settings, url, public_url) as parts, _kept_running(embedded):
        worker = wiring.worker(parts)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, worker.stop)
        print("holdfirst worker running", flush=True)  # noqa: T201
        await worker.run()


@contextlib.asynccontextmanager
async def _kept_running(embedded: EmbeddedPostgres | None) -> AsyncIterator[None]:
    """Start the embedded PostgreSQL again if it dies under us."""

    async def watch(server: EmbeddedPostgres) -> None:
        while True:
            await asyncio.sleep(0.5)
            try:
                await asyncio.to_thread(server.ensure_running)
            except HoldfirstError as error:
                log.error(  # noqa: TRY400  # the message is made for people
                    "embedded_postgres_down", error=str(error)
                )

    watching = asyncio.create_task(watch(embedded)) if embedded else None
    try:
        yield
    finally:
        if watching:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise ConfigurationError(f"Cannot listen on {host} port {port}: {error}") from error
    listening.listen(4096)
    listening.set_inheritable(True)
    return listening


def _end_on_signals() -> None:
    """Uvicorn handles them while it serves, and raises them again at its end: then nothing is left to do."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)


# Several API processes: the parent owns the socket and the database, the children serve.


def _serve_by_children(  # noqa: PLR0913, PLR0917
    settings: Settings,
    url: str,
    embedded: EmbeddedPostgres | None,
    listening: socket.socket,
    workers: int,
    run_worker: bool,
    announce: str,
) -> None:
    """A child that dies is replaced; when the parent dies, its end of the life line closes and they all end."""
    life_line, held = os.pipe()
    environment = os.environ | {
        "HOLDFIRST_DATABASE_URL": url,
        "HOLDFIRST_PUBLIC_URL": settings.public_url or "",
        "HOLDFIRST_DATA_DIR": str(settings.data_dir.absolute()),
        INHERITED: f"{listening.fileno()},{life_line}",
    }
    command = [sys.executable, "-m", "holdfirst", "serve", *([] if run_worker else ["--no-worker"])]
    stopping = [False]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.__setitem__(0, True))

    def spawn() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env=environment, pass_fds=(listening.fileno(), life_line))  # noqa: S603

    children = [spawn() for _ in range(workers)]
    print(announce, flush=True)  # noqa: T201
    pause = _Pause()
    while not stopping[0]:
        pause.wait(0.5)
        if embedded is not None:
            with contextlib.suppress(HoldfirstError):
                embedded.ensure_running()
        children = [child if child.poll() is None else spawn() for child in children]
    for child in children:
        child.terminate()
    for child in children:
        try:
            child.wait(8)
        except subprocess.TimeoutExpired:
            child.kill()
    os.close(held)


class _Pause:
    """Sleep that a signal ends early."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def wait(self, seconds: float) -> None:
        self._reader.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            self._reader.recv(4096)


def _watch(life_line: int) -> None:
    """End this process, in good order, when the parent is gone."""
    import threading  # noqa: PLC0415

    def wait_for_end() -> None:
        os.read(life_line, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait_for_end, daemon=True, name="life line").start()
