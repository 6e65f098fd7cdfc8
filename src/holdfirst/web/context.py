# SPDX-License-Identifier: Apache-2.0
"""What the web layer is made with, once, in wiring."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar.types import ControllerRouterHandler

from holdfirst.effects.world import World
from holdfirst.settings import Settings
from holdfirst.store.doorbell import Doorbell
from holdfirst.web.asker import Doorkeeper
from holdfirst.web.metrics import Metrics


class WebContext(msgspec.Struct, kw_only=True):
    """`more_routes`: routes made elsewhere. `closing`: set when the server is to stop, so that open streams end."""

    world: World
    settings: Settings
    doorbell: Doorbell
    more_routes: Sequence[ControllerRouterHandler] = ()
    heartbeat_seconds: float = 20.0
    closing: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    metrics: Metrics = msgspec.field(default_factory=Metrics)
    doors: Any = None

    def __post_init__(self) -> None:
        self.doors = Doorkeeper(self.world.database, self.world.key_ring)

    @property
    def doorkeeper(self) -> Doorkeeper:
        doors: Doorkeeper = self.doors
        return doors
