"""Variables that begin with `DIGITS_`: unknown ones are refused, those of other programs are ignored."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from app.environment import FOREIGN_VARIABLES, find_foreign_variables
from app.settings import VARIABLES, Settings, SettingsError, load_settings
from tests.compose import compose
from tests.conftest import ROOT
from tests.serving import Process, start_process

LINKS = {  # what Kubernetes sets in pods for a Service named digits
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
def test_an_unknown_variable_is_refused_with_a_suggestion(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    for value in ("a secret of somebody", ""):
        monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError) as refused:
            load_settings()
        assert str(refused.value) == f"There is no {name}; did you mean {meant}?"


@pytest.mark.parametrize("name", ["DIGITS_FOO", "DIGITS_", "DIGITS_\nFORGED"])
def test_an_unknown_variable_that_resembles_no_setting_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(SettingsError, match=r"There is no .*DIGITS_.*; docs/deploy.md lists all") as refused:
        load_settings()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_service_with_unknown_variables_exits(workers: str) -> None:
    running = Process(api_key="a secret of somebody", ratelimit="60", workers=workers)
    status, log = running.end()
    running.client.close()
    assert status == 2
    assert log.splitlines() == [
        "digits can't start: There is no DIGITS_API_KEY; did you mean DIGITS_API_KEYS?",
        "There is no DIGITS_RATELIMIT; did you mean DIGITS_RATE_LIMIT?",
    ]


def test_a_setting_can_be_written_in_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("digits_workers", "3")
    assert load_settings().workers == 3


def test_compose_passes_every_setting_on(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {name: f"the value of {name}" for name in VARIABLES})
    passed_on = VARIABLES.keys() - {"DIGITS_HOST", "DIGITS_PORT"}  # the image and DIGITS_PUBLISH set these
    assert compose()["digits"]["environment"] == {name: f"the value of {name}" for name in passed_on}


def test_compose_changes_no_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    set_all(monkeypatch, compose()["digits"]["environment"])
    assert load_settings() == Settings()


@pytest.mark.parametrize("second", ["a-key-of-some-length", ""])
def test_a_setting_that_is_set_twice_is_refused(monkeypatch: pytest.MonkeyPatch, second: str) -> None:
    monkeypatch.setenv("DIGITS_API_KEYS", "a-key-of-some-length")
    monkeypatch.setenv("digits_api_keys", second)  # an empty one would win, and open the service
    with pytest.raises(SettingsError, match="DIGITS_API_KEYS and digits_api_keys are the same setting"):
        load_settings()


def test_variables_that_kubernetes_sets_for_services_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {name.replace("DIGITS", "DIGITS_API"): value for name, value in LINKS.items()}
    set_all(monkeypatch, LINKS | others)
    settings = load_settings()
    assert settings.port == 8000
    assert set(find_foreign_variables({**LINKS, **others})) == {*LINKS, *others}


def test_a_port_that_is_set_explicitly_overrides_that_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, LINKS | {"DIGITS_PORT": "9000"})
    assert load_settings().port == 9000


@pytest.mark.parametrize(
    ("variable", "changed"),
    [
        ("DIGITS_SERVICE_HOST", None),
        ("DIGITS_SERVICE_HOST", "digits.example"),
        ("DIGITS_SERVICE_PORT", None),
        ("DIGITS_SERVICE_PORT", "http"),
    ],
)
def test_an_incomplete_set_of_service_variables_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, changed: str | None
) -> None:
    set_all(monkeypatch, LINKS)
    if changed is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, changed)
    with pytest.raises(SettingsError, match="There is no DIGITS_PORT_80_TCP; did you mean DIGITS_PORT"):
        load_settings()


def test_a_name_that_resembles_a_service_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, LINKS | {"DIGITS_SERVICE_KEYS": "x", "DIGITS_PORT_KEYS": "x"})
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert str(refused.value).count("There is no ") == 2


def test_the_variables_of_other_programs_in_this_repository_are_known() -> None:
    """A developer who has set one for tests or training can still start the service."""
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


def test_ignored_variables_are_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {name: value for name, value in LINKS.items() if name != "DIGITS_PORT"})
    monkeypatch.setenv("DIGITS_PUBLISH", "8000")
    monkeypatch.delenv("DIGITS_NO_SKIPS", raising=False)  # of CI
    monkeypatch.delenv("DIGITS_RESILIENCE", raising=False)
    with start_process() as running:
        running.popen.send_signal(signal.SIGTERM)
        _, log = running.end()
    (line,) = [json.loads(line) for line in log.splitlines() if '"variables":' in line]
    assert set(line["variables"]) == {*LINKS, "DIGITS_PUBLISH"} - {"DIGITS_PORT"}


def test_the_clients_key_is_not_taken_for_the_services_keys(
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
