# SPDX-License-Identifier: Apache-2.0
"""What text may be. Kept code point for code point: nothing is normalised, trimmed or re-cased.

A line has no control characters (Unicode's Cc), so that it is safe in a header, a file name and a subject line.
Everything else is somebody's name: emoji, right-to-left, combining marks.
"""

import functools
import re
from collections.abc import Iterable
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from email_validator import EmailNotValidError, validate_email
from msgspec import Meta

LINE = r"\A[^\x00-\x1f\x7f-\x9f]*\Z"
LINES = r"\A[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*\Z"
SLUG = r"\A[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?\Z"

Line = Annotated[str, Meta(min_length=1, max_length=200, pattern=LINE)]
LongText = Annotated[str, Meta(max_length=10_000, pattern=LINES)]
Url = Annotated[str, Meta(min_length=1, max_length=2048, pattern=LINE)]
Slug = Annotated[str, Meta(pattern=SLUG)]

PATTERN_MEANS = {
    LINE: "must have no control characters",
    LINES: "must have no control characters but tabs and line ends",
    SLUG: "must be lower-case letters, digits and inner hyphens, at most 64",
}
"""What a pattern's failure says to people."""

FREE_BYTES_MAX = 16_384
"""The most that one free-form member (metadata, billing, answers …) may take as JSON."""


def is_line(text: str) -> bool:
    return re.search(LINE, text) is not None


def is_lines(text: str) -> bool:
    return re.search(LINES, text) is not None


@functools.lru_cache(maxsize=4096)
def email_fault(email: str) -> str | None:
    """Whether mail could be sent to it, by its form alone; nobody is asked."""
    try:
        validate_email(email, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return "is not an e-mail address"
    return None if is_line(email) else "must have no control characters"


def url_fault(url: str) -> str | None:
    """An absolute http or https URL without credentials in it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "must be an absolute http or https URL"
    if "@" in parts.netloc:
        return "must have no user or password in it"
    if "\\" in url or " " in url or not is_line(url):
        return "must have no spaces, backslashes or control characters"
    return None


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def origin_fault(origin: str) -> str | None:
    """`https://example.org`: a scheme and a host, and a port where it is not the usual one."""
    fault = url_fault(origin)
    return fault or (None if origin_of(origin) == origin else "must be an origin such as https://example.org")


def size_fault(free: Any, bytes_max: int = FREE_BYTES_MAX) -> str | None:
    size = len(msgspec.json.encode(free))
    return None if size <= bytes_max else f"must take at most {bytes_max} bytes as JSON"


def slug_from(name: str) -> str:
    """An ASCII slug for a name in any script; where nothing is left of it, the caller's own word serves."""
    words: Iterable[str] = re.findall(r"[a-z0-9]+", _ascii(name).lower())
    return "-".join(words)[:48].strip("-")


def _ascii(name: str) -> str:
    import unicodedata  # noqa: PLC0415  # for this alone

    return unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
