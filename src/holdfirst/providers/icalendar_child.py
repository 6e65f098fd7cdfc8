# SPDX-License-Identifier: Apache-2.0
"""The process that reads strangers' iCalendar texts: bounded in memory, and each event in work.

Questions come on standard input and answers go to standard output, each with four bytes of length before it. One byte
comes first: we are here.
"""

import contextlib
import resource
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import BinaryIO

import msgspec

from holdfirst.calendar.icalendar import Task
from holdfirst.calendar.icalendar_reading import read_icalendar

MEMORY_BYTES_MAX = 1 << 30
READY = b"\n"


def main() -> None:
    # Whoever started us ends us; a Ctrl-C in its terminal is not for us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, _too_long)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    # Whoever waits for an answer does not count the time that it took us to get here.
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    while (question := receive(sys.stdin.buffer)) is not None:
        task = msgspec.msgpack.decode(question, type=Task)
        answer = read_icalendar(task.texts, task.asked, bounded)
        send(sys.stdout.buffer, msgspec.msgpack.encode(answer))


@contextlib.contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """An alarm clock for one event; again and again, in case the first ring is swallowed.

    It counts work and not the time of day: on a machine that is busy with something else an event takes no longer, and
    is not left out. Whoever started us waits so long and no longer.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds, seconds / 10)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _too_long(_signal: int, _frame: FrameType | None) -> None:
    raise TimeoutError


def receive(stream: BinaryIO) -> bytes | None:
    """None: the other side is done."""
    length = stream.read(4)
    return stream.read(int.from_bytes(length)) if len(length) == 4 else None


def send(stream: BinaryIO, message: bytes) -> None:
    stream.write(len(message).to_bytes(4) + message)
    stream.flush()


if __name__ == "__main__":
    main()
