"""Variables that begin with `DIGITS_`: what is not a setting is a mistake, or known to be somebody else's."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from app.environment import FOREIGN_VARIABLES, find_foreign_variables
from app.settings import VARIABLES, SettingsError, load_settings
from tests.conftest import ROOT
from tests.serving import Process, start_process

LINKS = {  # what Kubernetes tells pods of a Service named digits
    "DIGITS_SERVICE_HOST": "10.96.0.10",
    "DIGITS_SERVICE_PORT": "80",
    "DIGITS_SERVICE_PORT_HTTP": "80",
    "DIGITS_PORT": "tcp://10.96.0.10:80",
    "DIGITS_PORT_80_TCP": "tcp://10.96.0.10:80",
    "DIGITS_PORT_80_TCP_PROTO": "tcp",
    "DIGITS_PORT_80_TCP_PORT": "80",
    "DIGITS_PORT_80_TCP_ADDR": "10.96.0.10",
}


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DIGITS_API_KEY", "DIGITS_API_KEYS"),
        ("DIGITS_APIKEYS", "DIGITS_API_KEYS"),
        ("DIGITS_KEYS", "DIGITS_API_KEYS"),
        ("DIGITS_API_KEY_FILE", "DIGITS_API_KEYS_FILE"),
        ("DIGITS_RATELIMIT", "DIGITS_RATE_LIMIT"),
        ("DIGITS_WORKER", "DIGITS_WORKERS"),
        ("DIGITS_CORS", "DIGITS_CORS_ORIGINS"),
        ("DIGITS_PROXIES", "DIGITS_TRUSTED_PROXIES"),
        ("DIGITS_LOGLEVEL", "DIGITS_LOG_LEVEL"),
        ("digits_api_key", "DIGITS_API_KEYS"),
        ("Digits_Rate_Limits", "DIGITS_RATE_LIMIT"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_known_one(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    for value in ("a secret of somebody", ""):
        monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError) as refused:
            load_settings()
        assert str(refused.value) == f"There is no {name}; did you mean {meant}?"


@pytest.mark.parametrize("name", ["DIGITS_FOO", "DIGITS_", "DIGITS_\nFORGED"])
def test_a_variable_unlike_any_setting_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(SettingsError, match=r"There is no .*DIGITS_.*; docs/deploy.md lists all") as refused:
        load_settings()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_unknown_variable_stops_the_start(workers: str) -> None:
    running = Process(api_key="a secret of somebody", ratelimit="60", workers=workers)
    status, log = running.end()
    running.client.close()
    assert status == 2
    assert log.splitlines() == [
        "digits can't start: There is no DIGITS_API_KEY; did you mean DIGITS_API_KEYS?",
        "There is no DIGITS_RATELIMIT; did you mean DIGITS_RATE_LIMIT?",
    ]


def test_every_setting_may_be_written_in_small_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("digits_workers", "3")
    assert load_settings().workers == 3


@pytest.mark.parametrize("second", ["a-key-of-some-length", ""])
def test_a_setting_that_is_set_twice_is_refused(monkeypatch: pytest.MonkeyPatch, second: str) -> None:
    monkeypatch.setenv("DIGITS_API_KEYS", "a-key-of-some-length")
    monkeypatch.setenv("digits_api_keys", second)  # an empty one would win, and open the service
    with pytest.raises(SettingsError, match="DIGITS_API_KEYS and digits_api_keys are the same setting"):
        load_settings()


def test_variables_that_kubernetes_sets_for_services_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {name.replace("DIGITS", "DIGITS_API"): value for name, value in LINKS.items()}
    set_all(monkeypatch, LINKS | others)
    settings = load_settings()
    assert settings.port == 8000
    assert set(find_foreign_variables({**LINKS, **others})) == {*LINKS, *others}


def test_the_users_own_port_counts_among_those_of_services(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, LINKS | {"DIGITS_PORT": "9000"})
    assert load_settings().port == 9000


@pytest.mark.parametrize(
    ("left", "changed"),
    [
        ("DIGITS_SERVICE_HOST", None),
        ("DIGITS_SERVICE_HOST", "digits.example"),
        ("DIGITS_SERVICE_PORT", None),
        ("DIGITS_SERVICE_PORT", "http"),
    ],
)
def test_some_but_not_all_variables_of_a_service_are_a_mistake(
    monkeypatch: pytest.MonkeyPatch, left: str, changed: str | None
) -> None:
    set_all(monkeypatch, LINKS)
    if changed is None:
        monkeypatch.delenv(left)
    else:
        monkeypatch.setenv(left, changed)
    with pytest.raises(SettingsError, match="There is no DIGITS_PORT_80_TCP; did you mean DIGITS_PORT"):
        load_settings()


def test_a_name_like_those_of_services_is_still_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, LINKS | {"DIGITS_SERVICE_KEYS": "x", "DIGITS_PORT_KEYS": "x"})
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert str(refused.value).count("There is no ") == 2


def test_every_other_variable_of_this_repository_is_known() -> None:
    """Whoever has set one for tests or training can still start the service."""
    read = re.compile(r"""(?:environ(?:\.get)?[\[(]["']|process\.env\.|\$\{?)(DIGITS_[A-Z_]+)""")
    written = re.compile(r"^\s*(?:export .*)?(DIGITS_[A-Z_]+)=", re.MULTILINE)
    folders = ("app", "benchmarks", "deploy", "docs", "notebooks", "tests", "training")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.*") if file.suffix in SOURCES]
    found = {name for file in files for name in read.findall(file.read_text().replace('\\"', '"'))}
    for plain in ("Makefile", "docker-compose.yml", ".ci/run"):
        text = (ROOT / plain).read_text()
        found |= {*read.findall(text), *written.findall(text), *re.findall(r"(DIGITS_[A-Z_]+)=", text)}
    assert {"DIGITS_MNIST", "DIGITS_KEY", "DIGITS_RESILIENCE", "DIGITS_PUBLISH"} <= found
    assert found - {*VARIABLES} == {*FOREIGN_VARIABLES}


SOURCES = {".py", ".md", ".js", ".ipynb"}


def test_variables_of_other_programs_are_named_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {name: value for name, value in LINKS.items() if name != "DIGITS_PORT"})
    monkeypatch.setenv("DIGITS_PUBLISH", "8000")
    monkeypatch.delenv("DIGITS_NO_SKIPS", raising=False)  # of CI
    monkeypatch.delenv("DIGITS_RESILIENCE", raising=False)
    with start_process() as running:
        running.popen.send_signal(signal.SIGTERM)
        _, log = running.end()
    (line,) = [json.loads(line) for line in log.splitlines() if "not the service's" in line]
    assert set(line["variables"]) == {*LINKS, "DIGITS_PUBLISH"} - {"DIGITS_PORT"}


def test_the_clients_key_is_not_mistaken_for_the_services_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIGITS_KEY", "a secret of somebody")
    running = Process()
    status, log = running.end()
    running.client.close()
    assert status == 2
    assert "DIGITS_KEY is the key that clients send" in log
    assert "did you mean DIGITS_API_KEYS?" in log
    assert "a secret" not in log
    keys = tmp_path / "keys"
    keys.write_text(f"alice {64 * '0'}")
    with start_process(api_keys_file=str(keys)) as locked:
        assert locked.client.get("/models").status_code == 401
