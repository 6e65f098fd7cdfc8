# SPDX-License-Identifier: Apache-2.0
"""The process that reads strangers' iCalendar texts: bounded in memory, and each event in time.

Questions come on standard input and answers go to standard output, each with four bytes of length before it.
"""

import contextlib
import resource
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import BinaryIO

import msgspec

from holdfirst.calendar.icalendar import Question, Reading, Task
from holdfirst.calendar.icalendar_reading import read_icalendar

EVENT_SECONDS_MAX = 0.5
MEMORY_BYTES_MAX = 1 << 30


def main() -> None:
    # Whoever started us ends us; a Ctrl-C in its terminal is not for us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, _too_long)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    while (question := receive(sys.stdin.buffer)) is not None:
        task = msgspec.msgpack.decode(question, type=Task)
        answer = [_read(text, task.asked) for text in task.texts]
        send(sys.stdout.buffer, msgspec.msgpack.encode(answer))


def _read(text: bytes, asked: Question) -> Reading:
    try:
        return read_icalendar(text, asked, bounded)
    except (MemoryError, RecursionError):
        return Reading(fault="too large to be read")


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """An alarm clock for one event; again and again, in case the first ring is swallowed."""
    signal.setitimer(signal.ITIMER_REAL, EVENT_SECONDS_MAX, EVENT_SECONDS_MAX / 10)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


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
