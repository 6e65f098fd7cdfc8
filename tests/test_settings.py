# SPDX-License-Identifier: Apache-2.0
"""Settings, as an operator gives them."""

from pathlib import Path

import pytest

from holdfirst.errors import ConfigurationError
from holdfirst.settings import read_settings


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOLDFIRST_SANDBOX", "HOLDFIRST_SMTP_URL", "HOLDFIRST_SECRET_KEY"):
        monkeypatch.setenv(name, "")
    settings = read_settings()
    assert (settings.sandbox, settings.smtp_url, settings.secret_key) == (False, None, None)


def test_a_setting_may_be_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "url").write_text("smtps://mail.example.org\n")
    monkeypatch.setenv("HOLDFIRST_SMTP_URL_FILE", str(tmp_path / "url"))
    assert read_settings().smtp_url == "smtps://mail.example.org"
    monkeypatch.setenv("HOLDFIRST_SMTP_URL_FILE", str(tmp_path / "gone"))
    with pytest.raises(ConfigurationError, match="HOLDFIRST_SMTP_URL_FILE"):
        read_settings()


def test_what_cannot_work_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFIRST_HOLD_SECONDS_MIN", "soon")
    with pytest.raises(ConfigurationError, match="HOLDFIRST_HOLD_SECONDS_MIN"):
        read_settings()
