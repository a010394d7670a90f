"""The image as people run it: built, healthy, answering, drained. Needs an engine that works."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import GOLDEN, ROOT
from tests.needs import find_engine
from tests.serving import wait_until
from tests.test_supply import check_document

IMAGE = "localhost/digits-under-test"
PHOTO = GOLDEN / "7-photo.jpg"
HARDENED = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--memory=256m")

pytestmark = pytest.mark.container


def succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()


@pytest.fixture(scope="module")
def engine() -> str:
    """The engine, once the image has been built with it."""
    name = find_engine()
    assert name
    output("make", "image", f"ENGINE={name}", f"IMAGE={IMAGE}")
    return name


@contextmanager
def run_image(engine: str, *options: str) -> Iterator[str]:
    """Run the image, hardened, until the block ends; yield the container's id."""
    container = output(engine, "run", "--detach", *HARDENED, *options, IMAGE)
    try:
        yield container
    finally:
        output(engine, "rm", "--force", container)


def is_healthy(engine: str, container: str) -> bool:
    """Run the image's own HEALTHCHECK; its timer needs systemd under podman, the check does not."""
    if engine == "podman":
        return succeeds(engine, "healthcheck", "run", container)
    return output(engine, "inspect", "--format={{.State.Health.Status}}", container) == "healthy"


def test_the_container_becomes_healthy_answers_and_exits_with_0_on_sigterm(engine: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    publish = ("--publish", f"127.0.0.1:{port}:{port}", "--env", f"DIGITS_PORT={port}")
    with run_image(engine, *publish) as container:
        wait_until(lambda: is_healthy(engine, container))
        answer = httpx.post(f"http://127.0.0.1:{port}/predict", files={"file": PHOTO.read_bytes()})
        assert answer.json()["digit"] == 7
        output(engine, "stop", "--time", "30", container)
        state = json.loads(output(engine, "inspect", container))[0]["State"]
    assert state["ExitCode"] == 0
    assert not state["OOMKilled"]


def test_the_container_needs_no_network_and_no_known_user(engine: str) -> None:
    with run_image(engine, "--network=none") as container:
        wait_until(lambda: is_healthy(engine, container))
        assert output(engine, "exec", container, "id", "-u") == "10001"


def test_several_workers_share_their_metrics_on_a_read_only_file_system(engine: str) -> None:
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/metrics').read().decode())"
    with run_image(engine, "--network=none", "--memory=1g", "--env=DIGITS_WORKERS=2") as container:
        wait_until(lambda: is_healthy(engine, container))
        wait_until(lambda: "digits_workers 2.0" in output(engine, "exec", container, "python", "-c", ask))


def test_the_image_has_neither_tensorflow_nor_pip(engine: str) -> None:
    with run_image(engine) as container:
        for module in ("tensorflow", "keras", "onnx", "pip", "pytest", "training"):
            assert not succeeds(engine, "exec", container, "python", "-c", f"import {module}")
        assert succeeds(engine, "exec", container, "python", "-c", "import app.main")


def test_the_image_adds_at_most_310_mb_to_its_base(engine: str) -> None:
    """A library of 29 MB in onnxruntime, which nothing here loads, is removed when it is built."""
    size, _ = output(engine, "run", "--rm", "--network=none", IMAGE, "du", "-sb", "/opt/digits").split()
    assert int(size) < 310e6


def test_the_image_has_a_software_bill_of_materials(engine: str) -> None:
    document = json.loads((ROOT / "sbom.json").read_text())
    check_document(document)
    assert any(part.get("purl", "").startswith("pkg:deb/debian/libc6@") for part in document["components"])
    with run_image(engine) as container:
        assert json.loads(output(engine, "exec", container, "cat", "/opt/digits/sbom.json")) == document


def test_the_image_is_labelled_and_stopped_by_sigterm(engine: str) -> None:
    config = json.loads(output(engine, "image", "inspect", IMAGE))[0]["Config"]
    assert config["Labels"]["org.opencontainers.image.title"] == "digits"
    assert config["StopSignal"] in {"SIGTERM", "15"}
    assert config["User"] == "10001:10001"
    assert "8000/tcp" in config["ExposedPorts"]


def test_compose_starts_a_healthy_service_and_stops_it(engine: str) -> None:
    own_compose = Path(sys.executable).with_name("podman-compose")  # a test dependency
    command = [str(own_compose)] if engine == "podman" and own_compose.exists() else [engine, "compose"]
    if not succeeds(*command, "version"):
        pytest.skip("no compose works here: install podman-compose or docker's plugin")
    output(engine, "tag", IMAGE, "digits")
    output(*command, "up", "--detach", "--no-build")
    try:
        wait_until(lambda: is_reachable("http://127.0.0.1:8000/health/ready"))
        answer = httpx.post("http://127.0.0.1:8000/predict", files={"file": PHOTO.read_bytes()})
        assert answer.json()["digit"] == 7
    finally:
        output(*command, "down")


def is_reachable(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False
