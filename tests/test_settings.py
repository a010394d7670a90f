from __future__ import annotations

import re

import pytest

from app.docstrings import read_docstrings
from app.settings import Settings, SettingsError, load_settings


def test_the_defaults_are_valid() -> None:
    settings = load_settings()
    assert settings.model_dump(exclude={"models_dir"}) == {
        "host": "127.0.0.1",
        "port": 8000,
        "grpc_port": None,
        "workers": 1,
        "default_model": "cnn",
        "max_body_bytes": 10 * 1024 * 1024,
        "max_batch_body_bytes": 32 * 1024 * 1024,
        "max_pixels": 40_000_000,
        "max_connections": 1024,
        "max_in_flight": 128,
        "max_bytes_in_flight": 256 * 1024 * 1024,
        "max_batch": 64,
        "read_timeout": 10.0,
        "write_timeout": 10.0,
        "request_timeout": 10.0,
        "api_keys": (),
        "api_keys_file": None,
        "public_docs": True,
        "explain": True,
        "rate_limit": None,
        "trusted_proxies": (),
        "root_path": None,
        "sagemaker": False,
        "cors_origins": (),
        "feedback_url": None,
        "feedback_max_bytes": 1024 * 1024 * 1024,
        "mcp": False,
        "label_studio_url": None,
        "label_studio_key": None,
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
        ("PORT", "http", "it must be an integer; at least 1; at most 65535"),
        ("PORT", "8000.5", "it must be an integer"),
        ("PORT", "9" * 5_000, "it must be an integer"),
        ("PORT", "80\n00", "it must be an integer"),
        ("PORT", "tcp://10.96.0.10:80", "it must be an integer"),
        ("PORT", "70000", "at most 65535"),
        ("WORKERS", "0", "at least 1"),
        ("READ_TIMEOUT", "-1", "above 0"),
        ("DRAIN_DELAY", "inf", "it must be finite"),
        ("DRAIN_DELAY", "soon", "it must be a number; at least 0"),
        ("PUBLIC_DOCS", "perhaps", "it must be true or false"),
        ("CORS_ORIGINS", "foo bar", "'foo bar' is not an origin"),
        ("CORS_ORIGINS", "https://a.example/path", "is not an origin"),
        ("CORS_ORIGINS", "https://a.example/", "is not an origin"),
        ("CORS_ORIGINS", "https://a.example?x", "is not an origin"),
        ("CORS_ORIGINS", "https://a@b.example", "is not an origin"),
        ("CORS_ORIGINS", "https://münchen.example", "is not an origin"),
        ("CORS_ORIGINS", "a.example", "is not an origin"),
        ("CORS_ORIGINS", "null", "is not an origin"),
        ("CORS_ORIGINS", "https://a.example:65536", "is not an origin"),
        ("CORS_ORIGINS", "https://*.example.org", "a \\*, which is not a wildcard within an origin"),
        ("CORS_ORIGINS", "https://a.example,https://a.example:*", "which is not a wildcard"),
        ("CORS_ORIGINS", "http*://a.example", "which is not a wildcard"),
        ("CORS_ORIGINS", "*,https://a.example", "use it on its own"),
        ("CORS_ORIGINS", "https://A.example", "lower case; write https://a.example"),
        ("CORS_ORIGINS", "https://a.example:443", "omit the default port; write https://a.example"),
        ("CORS_ORIGINS", "http://[::1]:80", "write http://\\[::1\\]"),
        ("RATE_LIMIT", "0", "at least 1"),
        ("RATE_LIMIT", "none", "it must be an integer"),
        ("RATE_LIMIT", "false", "it must be an integer.* Unset: "),
        ("RATE_LIMIT", "-1", "at least 1"),
        ("TRUSTED_PROXIES", "proxy.example", "does not appear to be an IPv4 or IPv6 network; list addresses"),
        ("TRUSTED_PROXIES", "*", "would let every client forge its address"),
        ("TRUSTED_PROXIES", "10.0.0.5, 0.0.0.0/0", "would let every client forge its address"),
        ("TRUSTED_PROXIES", "::/0", "would let every client forge its address"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "write 10.0.0.0/8 for the whole network"),
        ("TRUSTED_PROXIES", "[::1]", "does not appear to be"),
        ("TRUSTED_PROXIES", "none", "does not appear to be"),
        ("TRUSTED_PROXIES", ",", "the list has no entries"),
        ("CORS_ORIGINS", " , ", "the list has no entries"),
        ("HOST", "  ", "the value is blank"),
        ("API_KEYS_FILE", "\t", "the value is blank"),
        ("WORKERS", '"2"', "the quotes are part of the value"),
        ("PUBLIC_DOCS", "'false'", "the quotes are part of the value"),
        ("CORS_ORIGINS", '["https://a.example"]', "the quotes are part of the value|is not an origin"),
        ("MODELS_DIR", '"/models"', "the quotes are part of the value"),
        ("LABEL_STUDIO_URL", "labels.example.org", "is not an address such as https://labels.example.org"),
        ("LABEL_STUDIO_URL", "ftp://labels.example.org", "is not an address"),
        ("LABEL_STUDIO_URL", "http://", "is not an address"),
        ("LABEL_STUDIO_URL", "http://[", "is not an address"),
        ("LABEL_STUDIO_URL", "http://a:b@labels.example.org", "is not an address"),
        ("LABEL_STUDIO_URL", "http://labels.example.org/?a=b", "is not an address"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("MAX_BYTES_IN_FLIGHT", "20000000", "33554432 bytes as set by DIGITS_MAX_BATCH_BODY_BYTES"),
        ("MAX_BATCH", "200", "DIGITS_MAX_IN_FLIGHT, which is 128"),
    ],
)
def test_the_message_about_an_invalid_setting_has_name_value_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(f"DIGITS_{name}", value)
    with pytest.raises(SettingsError, match=f"^DIGITS_{name}=.*: .*(?:{allowed}).* Default: .*") as refused:
        load_settings()
    line = str(refused.value)
    assert "\n" not in line
    assert len(line) < 600
    assert value[:100] in line or repr(value) in line
    assert not re.search(r"Value error|Input should|pydantic|\(\)|None", line)


def test_the_message_has_a_line_for_each_invalid_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIGITS_PORT", "x")
    monkeypatch.setenv("DIGITS_WORKERS", "x")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert [line.partition("=")[0] for line in str(refused.value).splitlines()] == [
        "DIGITS_PORT",
        "DIGITS_WORKERS",
    ]


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().port = 1


def test_every_setting_has_a_description() -> None:
    assert read_docstrings(Settings).keys() >= Settings.model_fields.keys()


GOOD = "8-letter"


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("API_KEYS", ",", "the list has no entries"),
        ("API_KEYS", " , ,", "the list has no entries"),
        ("API_KEYS", " ", "the value is blank"),
        ("API_KEYS", "x", "key 1 has fewer than 8 characters"),
        ("API_KEYS", GOOD[1:], "key 1 has fewer than 8 characters"),
        ("API_KEYS", f"{GOOD}, ?!", "key 2 has fewer than 8 characters"),
        ("API_KEYS", "none", "key 1 has fewer than 8 characters"),
        ("API_KEYS", f'"{GOOD}"', "the quotes are part of the value"),
        ("API_KEYS", f"{GOOD}0,'{GOOD}1'", "the quotes are part of the value"),
        ("FEEDBACK_URL", '"sqlite:///x"', "the quotes are part of the value"),
        ("FEEDBACK_URL", "mysql://me:{GOOD}@localhost/x", "'mysql' is neither"),
    ],
)
def test_the_message_about_an_invalid_secret_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, fault: str
) -> None:
    monkeypatch.setenv(f"DIGITS_{name}", value)
    with pytest.raises(SettingsError, match=rf"^DIGITS_{name}=\(not shown\): .*{fault}") as refused:
        load_settings()
    for secret in (GOOD, GOOD[1:], "?!", "localhost"):
        assert secret not in str(refused.value)


@pytest.mark.parametrize("value", [GOOD, f" {GOOD} ", f"{GOOD},", f"alice:{64 * 'a'}"])
def test_a_key_of_the_minimum_length_is_accepted(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("DIGITS_API_KEYS", value)
    assert load_settings().api_keys == (value.strip(" ,"),)


@pytest.mark.parametrize("line_end", ["\r", " ", "\t"])
def test_blanks_around_a_value_are_ignored(monkeypatch: pytest.MonkeyPatch, line_end: str) -> None:
    values = {"HOST": "::1", "WORKERS": "2", "PUBLIC_DOCS": "false", "LOG_LEVEL": "error", "RATE_LIMIT": "60"}
    for name, value in values.items():
        monkeypatch.setenv(f"DIGITS_{name}", f" {value}{line_end}")
    settings = load_settings()
    assert (settings.host, settings.workers, settings.public_docs) == ("::1", 2, False)
    assert (settings.log_level, settings.rate_limit) == ("error", 60)


def test_a_default_that_contradicts_another_setting_is_reported_with_its_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DIGITS_MAX_BODY_BYTES", "999999999")
    with pytest.raises(
        SettingsError,
        match=r"^DIGITS_MAX_BYTES_IN_FLIGHT=268435456: it must hold the largest body, 999999999",
    ):
        load_settings()
