# SPDX-License-Identifier: Apache-2.0
"""A signal that comes while a command starts, be it while its modules are read."""

import signal
import sys
import threading

SIGNALS = (signal.SIGTERM, signal.SIGINT)
leaving = threading.Event()
"""One has come."""


def leave_on_signals() -> None:
    """While a command starts, a signal ends it where it is; what is open is closed on the way out.

    An exit raised just where nobody can raise (a finalizer, a callback of C) is lost, so that it is noted too.
    """

    def leave(*_: object) -> None:
        leaving.set()
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        sys.exit(0)

    for number in SIGNALS:
        signal.signal(number, leave)
