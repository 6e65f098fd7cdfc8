# SPDX-License-Identifier: Apache-2.0
"""A simulated course has an event loop of its own: it runs beside the test's, in a thread."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def apart() -> Callable[..., Any]:
    return asyncio.to_thread
