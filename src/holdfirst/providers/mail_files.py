# SPDX-License-Identifier: Apache-2.0
"""Mail as files, one message each, where no mail server is set: for trying out and for tests."""

import asyncio
import hashlib
import os
from email.message import EmailMessage
from pathlib import Path


class MailFiles:
    """`DIR/<digest of Message-ID>.eml`: the same message again is the same file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def send(self, message: EmailMessage) -> None:
        await asyncio.to_thread(self._write, str(message["Message-ID"]), message.as_bytes())

    def _write(self, message_id: str, text: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{hashlib.sha256(message_id.encode()).hexdigest()[:32]}.eml"
        draft = path.with_suffix(f".{os.getpid()}.draft")
        draft.write_bytes(text)
        draft.replace(path)
