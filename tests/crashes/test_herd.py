# SPDX-License-Identifier: Apache-2.0
"""A thousand clients on one slot: one winner, a plain no for the others, and no trouble of ours that they see.

`HOLDFIRST_HERD` says how many.
"""

import asyncio
import os
from typing import Any

import pytest

from crashes.herd import herd
from processes.running import open_practice

CLIENTS = int(os.environ.get("HOLDFIRST_HERD", "1000"))


@pytest.mark.parametrize("processes", [1, 3])
def test_a_thousand_clients_on_one_slot(a_server: Any, figures: Any, processes: int) -> None:
    server = a_server(*(("--workers", str(processes)) if processes > 1 else ())).start()
    practice = open_practice(server)
    for event_type in ("free", "consultation"):
        told = asyncio.run(herd([server.url], practice.secret_key, practice.a_start(), CLIENTS, event_type))
        print(f"herd, {processes} processes, {event_type}: {told}")
        figures("herd", clients=CLIENTS, winners=told.statuses.get(201, 0), refused=told.codes["slot_taken"])
        assert told.statuses == {201: 1, 409: CLIENTS - 1}
        assert told.codes == {"slot_taken": CLIENTS - 1}
    postgres_log = (server.data_dir / "postgres.log").read_text()
    assert "deadlock detected" not in postgres_log
    assert "request_failed" not in server.errors
    assert server.end()[0] == 0
