# SPDX-License-Identifier: Apache-2.0
"""The key ring: newest key first. It seals credentials at rest and makes a reservation's client secret.

Sealed text is AES-256-GCM: one byte of version, four of the key's fingerprint, twelve of nonce, then the
ciphertext; what it belongs to is authenticated with it, so that a sealed value moved to another row does not open.
"""

import base64
import binascii
import functools
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfirst.errors import ConfigurationError

VERSION = b"\x01"
CLIENT_SECRET_PREFIX = "hf_cs_"
PAGE_KEY_PREFIX = "hf_pk_page_"


class KeyRing:
    """One or more 32-byte keys; everything is made with the first and read with any."""

    def __init__(self, keys: list[bytes]) -> None:
        assert keys
        self._keys = keys

    @property
    def fingerprints(self) -> list[str]:
        return [_fingerprint(key).hex() for key in self._keys]

    def seal(self, plain: bytes, belongs_to: str) -> bytes:
        key = self._keys[0]
        nonce = secrets.token_bytes(12)
        box = AESGCM(_derived(key, b"seal")).encrypt(nonce, plain, belongs_to.encode())
        return VERSION + _fingerprint(key) + nonce + box

    def unseal(self, sealed: bytes, belongs_to: str) -> bytes:
        """Raises `ConfigurationError` where no key of the ring opens it."""
        mark, nonce, box = sealed[1:5], sealed[5:17], sealed[17:]
        for key in self._keys:
            if sealed[:1] == VERSION and _fingerprint(key) == mark:
                try:
                    return AESGCM(_derived(key, b"seal")).decrypt(nonce, box, belongs_to.encode())
                except InvalidTag:
                    break
        raise ConfigurationError("A sealed credential does not open with any key of HOLDFIRST_SECRET_KEY.")

    def sealed_with_newest(self, sealed: bytes) -> bool:
        return sealed[1:5] == _fingerprint(self._keys[0])

    def client_secret(self, reservation_id: str, version: int) -> str:
        """`hf_cs_` + the id without `res_` + `.` + HMAC-SHA256; never stored, so it can be stated again."""
        return _client_secret(self._keys[0], reservation_id, version)

    def is_client_secret(self, secret: str, reservation_id: str, version: int) -> bool:
        return self._made(secret, lambda key: _client_secret(key, reservation_id, version))

    def page_key(self, event_type_id: str) -> str:
        """The publishable key of one event type's booking page: `hf_pk_page_` + its id + `.` + HMAC; never stored."""
        return _page_key(self._keys[0], event_type_id)

    def event_type_of(self, page_key: str) -> str | None:
        """The event type whose page key this is, if it is one that this ring made."""
        body, _, _ = page_key.removeprefix(PAGE_KEY_PREFIX).partition(".")
        event_type_id = f"ety_{body}"
        return event_type_id if self._made(page_key, lambda key: _page_key(key, event_type_id)) else None

    def feed_token(self, host_id: str, version: int) -> str:
        """What opens a host's feed of reservations: in its address, as calendars want it; never stored."""
        return _feed_token(self._keys[0], host_id, version)

    def is_feed_token(self, token: str, host_id: str, version: int) -> bool:
        return self._made(token, lambda key: _feed_token(key, host_id, version))

    def watch_secret(self, watch_id: str) -> str:
        """What a company says when it calls about a calendar that it watches for us; never stored."""
        return _signed(self._keys[0], b"watch", watch_id)

    def is_watch_secret(self, secret: str, watch_id: str) -> bool:
        return self._made(secret, lambda key: _signed(key, b"watch", watch_id))

    def consent_state(self, connection_id: str, until: int) -> str:
        """What comes back from a consent page: which connection, until when, and that we said so."""
        return f"{connection_id}.{until}.{_signed(self._keys[0], b'consent', f'{connection_id}.{until}')}"

    def connection_of(self, state: str, now: int) -> str | None:
        """None: not ours, or too old."""
        connection_id, _, rest = state.partition(".")
        until, _, tag = rest.partition(".")
        if not self._made(tag, lambda key: _signed(key, b"consent", f"{connection_id}.{until}")):
            return None
        return connection_id if now < int(until) else None

    def consent_verifier(self, connection_id: str) -> str:
        """A secret of the connection's, so that nobody else can use the code that it was consented to with."""
        return _signed(self._keys[-1], b"verifier", connection_id)

    def digest(self, text: str) -> bytes:
        """A keyed digest for counting without knowing; of the oldest key, so that a rotation loses no count."""
        return hmac.digest(_derived(self._keys[-1], b"digest"), text.encode(), "sha256")[:16]

    def _made(self, given: str, make: Callable[[bytes], str]) -> bool:
        """Whether any key of the ring makes exactly this; each is compared, in constant time."""
        matches = [hmac.compare_digest(given.encode(), make(key).encode()) for key in self._keys]
        return any(matches)


def reservation_of(client_secret: str) -> str | None:
    """The reservation that a client secret claims to be of."""
    body, dot, _ = client_secret.removeprefix(CLIENT_SECRET_PREFIX).partition(".")
    return f"res_{body}" if dot and client_secret.startswith(CLIENT_SECRET_PREFIX) else None


def open_ring(setting: str | None, data_dir: Path) -> KeyRing:
    """From `HOLDFIRST_SECRET_KEY` (comma separated, newest first), else from a file made in the data directory."""
    if setting is None:
        setting = _kept(data_dir / "secret-key")
    return KeyRing(
        [_parse(part) for part in setting.replace("\n", ",").split(",") if part.strip()] or [_parse("")]
    )


def _kept(path: Path) -> str:
    try:
        if not path.exists():
            _write_once(path)
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"Without HOLDFIRST_SECRET_KEY a key is kept in {path}, which cannot be used: {error}"
        ) from error


def _write_once(path: Path) -> None:
    """Whoever is first makes it; another process that starts at the same time reads the same one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _parse(text: str) -> bytes:
    try:
        key = base64.urlsafe_b64decode(text.strip().replace("+", "-").replace("/", "_"))
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise ConfigurationError(
            "HOLDFIRST_SECRET_KEY must be 32 random bytes in base64 (several, newest first, separated by commas);"
            " make one with: python3 -c 'import secrets,base64;"
            "print(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())'"
        )
    return key


def _fingerprint(key: bytes) -> bytes:
    return hashlib.sha256(b"holdfirst fingerprint" + key).digest()[:4]


@functools.lru_cache(64)
def _derived(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(key, b"holdfirst " + purpose, "sha256")


def _signed(key: bytes, purpose: bytes, text: str, size: int = 32) -> str:
    """HMAC-SHA256, its first `size` bytes, as base64url."""
    tag = hmac.digest(_derived(key, purpose), text.encode(), "sha256")[:size]
    return base64.urlsafe_b64encode(tag).rstrip(b"=").decode()


def _client_secret(key: bytes, reservation_id: str, version: int) -> str:
    tag = _signed(key, b"client secret", f"{reservation_id}|{version}")
    return f"{CLIENT_SECRET_PREFIX}{reservation_id.removeprefix('res_')}.{tag}"


def _feed_token(key: bytes, host_id: str, version: int) -> str:
    """The first one says nothing of its number: so it was before there were others."""
    return _signed(key, b"feed", host_id if version == 1 else f"{host_id}.{version}", size=24)


def _page_key(key: bytes, event_type_id: str) -> str:
    tag = _signed(key, b"page key", event_type_id, size=16)
    return f"{PAGE_KEY_PREFIX}{event_type_id.removeprefix('ety_')}.{tag}"
