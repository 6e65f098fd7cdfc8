# SPDX-License-Identifier: Apache-2.0
"""Structured logs on stderr, one JSON object a line: ids and codes, never personal data, never secrets."""

import logging
import sys
import traceback

import msgspec
import structlog


def _as_json(line: object, **_: object) -> str:
    return msgspec.json.encode(line, enc_hook=str).decode()


def set_up_logs(level: int = logging.INFO) -> None:
    """Once per process, before anything logs."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_as_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries speak through the standard library: the same form, and only what matters.
    standard = logging.StreamHandler(sys.stderr)
    standard.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [standard]
    root.setLevel(logging.WARNING)
    logging.getLogger("holdfirst").setLevel(level)
    # Its lines would name checkouts, which are bearer links.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def places(error: BaseException) -> list[str]:
    """Where an error came from, innermost last: for logs, where its words have no place."""
    return [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)][-8:]
