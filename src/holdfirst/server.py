# SPDX-License-Identifier: Apache-2.0
"""`serve` and `worker` as processes: the database under them, the web in front, the jobs beside, an orderly end."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from types import FrameType

import structlog
import uvicorn

from holdfirst import wiring
from holdfirst.clock import monotonic
from holdfirst.embedded_postgres import EmbeddedPostgres
from holdfirst.errors import ConfigurationError, HoldfirstError
from holdfirst.foundation import database_url, prepare
from holdfirst.http_protocol import HttpProtocol
from holdfirst.leaving import SIGNALS, leaving
from holdfirst.settings import Settings

log = structlog.get_logger(__name__)

GRACE_SECONDS = 4
CHILDREN_SECONDS = 8
INHERITED = "HOLDFIRST_INHERITED"
"""Set by a parent `serve` for its children: `listening socket,life line,ready` as file descriptors."""


def serve(settings: Settings, *, host: str, port: int, workers: int, run_worker: bool) -> None:
    """Until SIGTERM or SIGINT; ends within ten seconds, with no process left."""
    if inherited := os.environ.pop(INHERITED, None):
        listener, life_line, ready = (int(number) for number in inherited.split(","))
        _watch(life_line)
        listening = socket.socket(fileno=listener)
        answers = partial(os.write, ready, b".")
        _run(_serve(settings, settings.database_url or "", None, listening, run_worker, answers))
        return
    with _listen(host, port) as listening, database_url(settings) as (url, embedded):
        bound_host, bound_port = listening.getsockname()[:2]
        if ":" in bound_host:
            bound_host = f"[{bound_host}]"
        named = "localhost" if bound_host in ("0.0.0.0", "[::]") else bound_host  # noqa: S104  # a comparison
        settings = settings.model_copy(
            update={"public_url": (settings.public_url or f"http://{named}:{bound_port}").rstrip("/")}
        )
        if embedded is not None:
            asyncio.run(prepare(url))
        # The contract's line, on stdout.
        announce = partial(print, f"holdfirst listening on http://{bound_host}:{bound_port}", flush=True)
        if workers > 1:
            _serve_by_children(settings, url, embedded, listening, workers, run_worker, announce)
        else:
            _run(_serve(settings, url, embedded, listening, run_worker, announce))


def work(settings: Settings) -> None:
    """Effects only, until SIGTERM or SIGINT."""
    with database_url(settings) as (url, embedded):
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
    answers: Callable[[], object],
) -> None:
    """`answers` is called once it does."""
    assert settings.public_url is not None
    async with wiring.open_parts(settings, url, settings.public_url) as parts, _kept_running(embedded):
        closing = asyncio.Event()
        server = _Server(
            uvicorn.Config(
                wiring.web_app(parts, closing),
                http=HttpProtocol,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
                backlog=4096,
            )
        )
        worker = wiring.worker(parts)
        server.on_exit = [closing.set, worker.stop]
        for number in SIGNALS:
            # As uvicorn does while it serves; it raises them again at its end, when nothing is left to do.
            signal.signal(number, server.handle_exit)
        working = asyncio.create_task(worker.run()) if run_worker else None
        announcing = asyncio.create_task(_announce(server, answers))
        # What was made by now lives as long as the process: the collector need not look at it again and again.
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        try:
            if not leaving.is_set():
                await server.serve(sockets=[listening])
        finally:
            announcing.cancel()
            worker.stop()
            if working is not None:
                await working


class _Server(uvicorn.Server):
    """uvicorn waits for open connections before it tells anybody anything: streams and jobs are told here."""

    on_exit: Sequence[Callable[[], None]] = ()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        for tell in self.on_exit:
            tell()
        super().handle_exit(sig, frame)


async def _announce(server: uvicorn.Server, answers: Callable[[], object]) -> None:
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    answers()


async def _work(settings: Settings, url: str, embedded: EmbeddedPostgres | None) -> None:
    public_url = (settings.public_url or "http://127.0.0.1:8000").rstrip("/")
    async with wiring.open_parts(settings, url, public_url) as parts, _kept_running(embedded):
        worker = wiring.worker(parts)
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, worker.stop)
        if leaving.is_set():
            return
        print("holdfirst worker running", flush=True)  # noqa: T201
        await worker.run()


@contextlib.asynccontextmanager
async def _kept_running(embedded: EmbeddedPostgres | None) -> AsyncIterator[None]:
    """Start the embedded PostgreSQL again if it dies under us."""

    async def watch(server: EmbeddedPostgres) -> None:
        while True:
            await asyncio.sleep(0.5)
            await asyncio.to_thread(_keep_running, server)

    watching = asyncio.create_task(watch(embedded)) if embedded else None
    try:
        yield
    finally:
        if watching:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching


def _keep_running(embedded: EmbeddedPostgres) -> None:
    try:
        embedded.ensure_running()
    except HoldfirstError as error:
        log.error("embedded_postgres_down", error=str(error))  # noqa: TRY400  # the message is made for people


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


# Several API processes: the parent owns the socket and the database, the children serve.


def _serve_by_children(  # noqa: PLR0913, PLR0917
    settings: Settings,
    url: str,
    embedded: EmbeddedPostgres | None,
    listening: socket.socket,
    workers: int,
    run_worker: bool,
    announce: Callable[[], object],
) -> None:
    """A child that dies is replaced; when the parent dies, its end of the life line closes and they all end."""
    # What would end every child at its start is said once, by the parent.
    asyncio.run(_try_out(settings, url))
    life_line, held = os.pipe()
    answering, ready = os.pipe()
    os.set_blocking(answering, False)
    inherited = (listening.fileno(), life_line, ready)
    environment = os.environ | {
        "HOLDFIRST_DATABASE_URL": url,
        "HOLDFIRST_PUBLIC_URL": settings.public_url or "",
        "HOLDFIRST_DATA_DIR": str(settings.data_dir.absolute()),
        INHERITED: ",".join(map(str, inherited)),
    }
    command = [sys.executable, "-m", "holdfirst", "serve", *([] if run_worker else ["--no-worker"])]
    stopping = [False]
    for number in SIGNALS:
        signal.signal(number, lambda *_: stopping.__setitem__(0, True))

    def spawn() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env=environment, pass_fds=inherited)  # noqa: S603

    children = [spawn() for _ in range(workers)]
    announced = False
    pause = _Pause()
    while not stopping[0] and not leaving.is_set():
        pause.wait(0.5 if announced else 0.02)
        if not announced and _has_said(answering):
            announced = True
            announce()
        if embedded is not None:
            _keep_running(embedded)
        children = [child if child.poll() is None else spawn() for child in children]
    _end_all(children)
    os.close(held)


async def _try_out(settings: Settings, url: str) -> None:
    async with wiring.open_parts(settings, url, settings.public_url or ""):
        pass


def _has_said(pipe: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        return bool(os.read(pipe, 1))
    return False


def _end_all(children: list[subprocess.Popen[bytes]]) -> None:
    for child in children:
        child.terminate()
    give_up = monotonic() + CHILDREN_SECONDS
    for child in children:
        try:
            child.wait(max(0.0, give_up - monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


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

    def wait_for_end() -> None:
        os.read(life_line, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait_for_end, daemon=True, name="life line").start()
