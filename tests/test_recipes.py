"""Runs or checks every block of docs/recipes.md, as shown."""

from __future__ import annotations

import configparser
import csv
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial, partialmethod
from pathlib import Path
from typing import Any, Final

import httpx
import jinja2
import pytest
import yaml

from app.settings import VARIABLES, Settings
from tests.certificates import create_certificate
from tests.conftest import GOLDEN, HOSTILE, ROOT
from tests.documents import find_blocks
from tests.needs import NGINX
from tests.serving import PATIENCE, free_port, run_handler, serve, wait_until

PAGE: Final = "docs/recipes.md"
BLOCKS: Final = find_blocks(PAGE)
LANGUAGES: Final = ["yaml", "sh", "python", "js", "jsx", "java", "nginx", "ini"]
SERVICE: Final = "http://localhost:8000"
NUMBERS: Final = ROOT / "tests" / "data" / "numbers"
SEVEN: Final = GOLDEN / "7-photo.jpg"
BLANK: Final = HOSTILE / "white.png"


def find_block(language: str) -> str:
    (block,) = (text for block_language, text in BLOCKS if block_language == language)
    return block


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, where `digits` is this repository's command."""
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )


def test_every_block_is_run_or_checked_below() -> None:
    assert [language for language, _ in BLOCKS] == LANGUAGES


# --- Home Assistant


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a camera, and the file that it shows."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        log_message = partialmethod(lambda *_: None)

    with run_handler(partial(Handler, directory=str(tmp_path))) as address:
        yield address, tmp_path / "snapshot.jpg"


def read_sensor(camera: str, service: str) -> tuple[str, dict[str, Any]]:
    """Return the state and the attributes of the sensor."""
    (sensor,) = (entry["sensor"] for entry in yaml.safe_load(find_block("yaml"))["command_line"])
    command = sensor["command"].replace("http://camera.local", camera).replace(SERVICE, service)
    output = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    value_json = json.loads(output)
    state = render(sensor["value_template"], value_json=value_json)
    return state, {name: value_json[name] for name in sensor["json_attributes"] if name in value_json}


def render(template: str, **names: object) -> str:
    return (
        jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
        .from_string(template)
        .render(names)
    )


@pytest.mark.needs("curl")
def test_home_assistant_reads_a_meter(client: httpx.Client, camera: tuple[str, Path]) -> None:
    address, snapshot = camera
    shutil.copy(NUMBERS / "4071.jpg", snapshot)
    state, attributes = read_sensor(address, str(client.base_url).rstrip("/"))
    assert state == "4071"
    assert (attributes["confidence"] > 0.5, attributes["warnings"]) == (True, [])
    shutil.copy(BLANK, snapshot)
    state, attributes = read_sensor(address, str(client.base_url).rstrip("/"))
    assert state == "unreadable"
    assert attributes.keys() == {"detail"}


@pytest.mark.parametrize(
    ("reading", "confidence", "last", "is_taken"),
    [
        ("4071", 0.9, "4070", True),
        ("4071", 0.9, "unknown", True),
        ("4071", 0.3, "4070", False),
        ("407", 0.9, "4070", False),
        ("unreadable", None, "4070", False),
    ],
)
def test_home_assistant_takes_certain_readings_that_do_not_decrease(
    *, reading: str, confidence: float | None, last: str, is_taken: bool
) -> None:
    (template,) = yaml.safe_load(find_block("yaml"))["template"]
    (sensor,) = template["sensor"]
    assert sensor["unique_id"] == sensor["name"].lower().replace(" ", "_")
    states = {"sensor.meter_camera": reading, "sensor.electricity_meter": last}
    names: dict[str, object] = {"states": states.__getitem__, "state_attr": lambda *_: confidence}
    conditions = [render(condition, **names) == "True" for condition in template["conditions"]]
    assert all(conditions) == is_taken
    assert not is_taken or render(sensor["state"], **names) == reading


# --- Excel


def test_excel_gets_semicolons_and_digits_that_stay_text(tmp_path: Path) -> None:
    (tmp_path / "digits").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m app "$@"\n')
    (tmp_path / "digits").chmod(0o755)
    (tmp_path / "scans").mkdir()
    shutil.copy(NUMBERS / "4071.jpg", tmp_path / "scans")
    shutil.copy(BLANK, tmp_path / "scans")
    assert run(["sh", "-c", find_block("sh")], tmp_path).returncode == 1, "one can't be read"
    ran = run([sys.executable, "-c", find_block("python")], tmp_path)
    assert ran.returncode == 0, ran.stderr
    table = (tmp_path / "digits-excel.csv").read_text(encoding="utf-8-sig").splitlines()
    rows = {row["file"]: row for row in csv.DictReader(table, delimiter=";")}
    assert rows["4071.jpg"]["text"] == rows["4071.jpg"]["written"] == '="4071"'
    assert (rows["white.png"]["text"], rows["white.png"]["problem"]) == ("", "no_ink")


# --- React and Android

USE: Final = """
import { openAsBlob } from "node:fs";
import { states } from "react";
import { useDigit } from "./useDigit.js";
const [, read] = useDigit(process.argv[2]);
await read(new File([await openAsBlob(process.argv[3])], "photo.jpg"));
console.log(JSON.stringify(states));
"""
REACT: Final = """
export const states = [];
export const useState = (initial) => [initial, (state) => states.push(state)];
"""


@pytest.fixture
def react(tmp_path: Path) -> Path:
    """A folder with the hook, a program that uses it, and as much of React as it needs."""
    package = tmp_path / "node_modules" / "react"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"name": "react", "type": "module", "exports": "./index.js"}')
    (package / "index.js").write_text(REACT)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "useDigit.js").write_text(find_block("js"))
    (tmp_path / "use.js").write_text(USE)
    return tmp_path


@pytest.mark.needs("node")
def test_the_hook_of_react_reads_and_reports_refusals(client: httpx.Client, react: Path) -> None:
    service, nobody = str(client.base_url).rstrip("/"), f"http://127.0.0.1:{free_port()}"
    last = {}
    for address, file in ((service, SEVEN), (service, BLANK), (nobody, SEVEN)):
        ran = run(["node", "use.js", address, str(file)], react)
        assert ran.returncode == 0, ran.stderr
        first, last[address, file] = json.loads(ran.stdout.splitlines()[-1])
        assert first == {"status": "reading"}
    assert (last[service, SEVEN]["status"], last[service, SEVEN]["digit"]) == ("read", 7)
    assert (last[service, BLANK]["status"], last[nobody, SEVEN]["status"]) == ("refused", "refused")
    assert last[service, BLANK]["message"]


def test_the_component_of_react_uses_what_the_hook_gives() -> None:
    hook, component = find_block("js"), find_block("jsx")
    assert 'from "./useDigit.js"' in component
    statuses = set(re.findall(r'status: "(\w+)"', hook))
    assert set(re.findall(r'state\.status === "(\w+)"', component)) == statuses - {"idle"}


@pytest.mark.needs("java")
def test_the_client_for_android_reads_retries_and_reports_refusals(
    client: httpx.Client, tmp_path: Path
) -> None:
    program = tmp_path / "DigitsClient.java"
    program.write_text(find_block("java"))
    ran = run(["java", str(program), str(client.base_url).rstrip("/"), str(SEVEN)], tmp_path)
    assert json.loads(ran.stdout)["digit"] == 7, ran.stderr
    ran = run(["java", str(program), str(client.base_url).rstrip("/"), str(BLANK)], tmp_path)
    assert ran.returncode == 1
    assert '"code": "no_ink"' in ran.stderr
    with serve(Settings(rate_limit=60)) as limited:
        wait_until(lambda: limited.get("/models/cnn").status_code == 429)
        ran = run(["java", str(program), str(limited.base_url).rstrip("/"), str(SEVEN)], tmp_path)
    assert json.loads(ran.stdout)["digit"] == 7, ran.stderr


# --- nginx and systemd

NGINX_AROUND: Final = """
daemon off;
master_process off;
pid {folder}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {configuration}
}}
"""


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The addresses of nginx without and with TLS, in front of a service."""
    assert NGINX
    plain, secure = free_port(), free_port()
    create_certificate(tmp_path, "digits.example.org")
    with serve(Settings(trusted_proxies=("127.0.0.1",), rate_limit=1000)) as service:
        configuration = re.sub(r"listen \[::\].*;", "", find_block("nginx"))
        for shown, here in {
            "127.0.0.1:8000": f"127.0.0.1:{service.base_url.port}",
            "listen 80;": f"listen 127.0.0.1:{plain};",
            "listen 443 ": f"listen 127.0.0.1:{secure} ",
            "/etc/letsencrypt/live/digits.example.org": str(tmp_path),
        }.items():
            assert shown in configuration
            configuration = configuration.replace(shown, here)
        file = tmp_path / "nginx.conf"
        file.write_text(NGINX_AROUND.format(folder=tmp_path, configuration=configuration))
        log = str(tmp_path / "error.log")
        running = subprocess.Popen([NGINX, "-p", str(tmp_path), "-e", log, "-c", str(file)])
        try:
            wait_until(lambda: running.poll() is not None or answers(f"http://127.0.0.1:{plain}"))
            assert running.poll() is None, Path(log).read_text()
            yield f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{secure}"
        finally:
            running.terminate()
            running.wait()


def answers(address: str) -> bool:
    try:
        return httpx.get(address).is_redirect
    except httpx.TransportError:
        return False


@pytest.mark.needs("nginx")
def test_nginx_ends_tls_and_hides_the_metrics(tls: tuple[str, str]) -> None:
    plain, secure = tls
    redirect = httpx.post(f"{plain}/predict?view=true", headers={"Host": "digits.example.org"})
    assert (redirect.status_code, redirect.headers["Location"]) == (
        308,
        "https://digits.example.org/predict?view=true",
    )
    with httpx.Client(base_url=secure, verify=False) as client:  # noqa: S501  its certificate is made above
        answer = client.post("/predict", files={"file": SEVEN.read_bytes()})
        assert answer.json()["digit"] == 7
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert client.get("/metrics").status_code == 403
        batch = client.post("/predict/batch", json={"images": [11_000_000 * "?"]})
        assert batch.json()["results"][0]["problem"]["code"] == "malformed_request", "nginx lets it pass"


def read_unit() -> dict[str, str]:
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(find_block("ini"))
    return dict(unit["Service"])


def test_the_unit_gives_the_service_time_to_stop_and_settings_that_exist() -> None:
    settings, unit = Settings(), read_unit()
    assert int(unit["TimeoutStopSec"]) > settings.drain_delay + settings.graceful_timeout
    assert unit["ExecStart"].endswith("/digits serve")
    page = (ROOT / PAGE).read_text()
    assert set(re.findall(r"DIGITS_[A-Z_]+", page)) <= VARIABLES.keys()


@pytest.mark.needs("systemd")
def test_systemd_accepts_the_unit_and_rates_it_as_safe(tmp_path: Path) -> None:
    file = tmp_path / "digits.service"
    file.write_text(find_block("ini").replace("/opt/digits/bin/digits", "/bin/true"))
    verified = run(["systemd-analyze", "verify", str(file)], tmp_path)
    assert (verified.returncode, verified.stderr) == (0, "")
    rated = run(["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(file)], tmp_path)
    assert rated.returncode == 0, rated.stdout[-500:]
