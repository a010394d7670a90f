from __future__ import annotations

import pytest

from app.settings import Settings, SettingsError, load_settings


def test_every_default_is_valid_and_as_documented() -> None:
    settings = load_settings()
    assert settings.model_dump(exclude={"models_dir"}) == {
        "host": "127.0.0.1",
        "port": 8000,
        "workers": 1,
        "default_model": "cnn",
        "max_body_bytes": 10 * 1024 * 1024,
        "max_batch_body_bytes": 32 * 1024 * 1024,
        "max_pixels": 40_000_000,
        "max_in_flight": 128,
        "max_bytes_in_flight": 256 * 1024 * 1024,
        "max_batch": 64,
        "read_timeout": 10.0,
        "request_timeout": 10.0,
        "api_keys": (),
        "api_keys_file": None,
        "public_docs": True,
        "rate_limit": None,
        "trusted_proxies": (),
        "cors_origins": (),
        "feedback_url": None,
        "feedback_max_bytes": 1024 * 1024 * 1024,
        "log_level": "info",
        "log_format": "json",
        "drain_delay": 0.0,
        "graceful_timeout": 30,
    }


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIGITS_PORT", "9000")
    monkeypatch.setenv("DIGITS_CORS_ORIGINS", "https://a.example, https://b.example")
    monkeypatch.setenv("DIGITS_LOG_LEVEL", "")
    settings = load_settings()
    assert settings.port == 9000
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.log_level == "info"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("PORT", "http", "integer.*at least 1; at most 65535"),
        ("PORT", "70000", "at most 65535"),
        ("WORKERS", "0", "at least 1"),
        ("READ_TIMEOUT", "-1", "above 0"),
        ("DRAIN_DELAY", "inf", "finite"),
        ("CORS_ORIGINS", "foo bar", "'foo bar' is no origin"),
        ("CORS_ORIGINS", "https://a.example/path", "is no origin"),
        ("RATE_LIMIT", "0", "at least 1"),
        ("TRUSTED_PROXIES", "proxy.example", "does not appear to be an IPv4 or IPv6 network"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("MAX_BYTES_IN_FLIGHT", "20000000", "33554432 bytes, as DIGITS_MAX_BATCH_BODY_BYTES says"),
        ("MAX_BATCH", "200", "DIGITS_MAX_IN_FLIGHT is 128"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line_with_name_value_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(f"DIGITS_{name}", value)
    with pytest.raises(SettingsError, match=f"^DIGITS_{name}={value}: .*{allowed}.* Default: .*") as told:
        load_settings()
    assert "\n" not in str(told.value)


def test_each_wrong_setting_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIGITS_PORT", "x")
    monkeypatch.setenv("DIGITS_WORKERS", "x")
    with pytest.raises(SettingsError) as told:
        load_settings()
    assert [line.partition("=")[0] for line in str(told.value).splitlines()] == [
        "DIGITS_PORT",
        "DIGITS_WORKERS",
    ]


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().port = 1


def test_every_setting_says_what_it_is_for() -> None:
    assert all(field.description for field in Settings.model_fields.values())
