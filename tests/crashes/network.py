# SPDX-License-Identifier: Apache-2.0
"""Machines of one's own: network namespaces on two bridges. Over one they reach the database, over the other their
clients reach them, so that a machine can lose the one and keep the other.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if "not permitted" in done.stderr or "Permission denied" in done.stderr:
        raise PermissionError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    assert done.returncode == 0, (words, done.stderr)


class Machine:
    """One namespace. `address`: where clients reach it."""

    def __init__(self, net: "Net", number: int) -> None:
        self.name = f"{net.prefix}-{number}"
        self.address = f"{net.clients}.{number + 10}"
        self.words = ("ip", "netns", "exec", self.name)
        self._cable = f"{net.prefix}d{number}"
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "set", "lo", "up")
        for kind, network in (("d", net.databases), ("c", net.clients)):
            outside = f"{net.prefix}{kind}{number}"
            ip("link", "add", outside, "type", "veth", "peer", "name", f"{kind}0", "netns", self.name)
            ip("link", "set", outside, "master", f"{net.prefix}{kind}", "up")
            ip("-n", self.name, "addr", "add", f"{network}.{number + 10}/24", "dev", f"{kind}0")
            ip("-n", self.name, "link", "set", f"{kind}0", "up")

    def cut(self) -> None:
        """No packet between this machine and the database any more, and nobody says so."""
        ip("link", "set", self._cable, "down")

    def mend(self) -> None:
        ip("link", "set", self._cable, "up")


class Net:
    """Two bridges, whose own ends are the database's machine and the clients'."""

    def __init__(self) -> None:
        number = os.getpid() % 200
        self.prefix = f"hf{os.getpid() % 10_000}"
        self.databases, self.clients = f"10.{number + 40}.1", f"10.{number + 40}.2"
        for kind, network in (("d", self.databases), ("c", self.clients)):
            ip("link", "add", f"{self.prefix}{kind}", "type", "bridge")
            ip("addr", "add", f"{network}.1/24", "dev", f"{self.prefix}{kind}")
            ip("link", "set", f"{self.prefix}{kind}", "up")

    @property
    def database(self) -> str:
        return f"{self.databases}.1"


@contextmanager
def machines(count: int) -> Iterator[tuple[Net, list[Machine]]]:
    """Raises `PermissionError` where this process may not make any."""
    made: list[Machine] = []
    net = None
    try:
        net = Net()
        for number in range(count):
            made.append(Machine(net, number))  # noqa: PERF401  # what was made before one fails is cleared away
        yield net, made
    finally:
        for machine in made:
            ip("netns", "delete", machine.name)
        if net is not None:
            for kind in "dc":
                ip("link", "delete", f"{net.prefix}{kind}")
