"""The service with the settings of the manifests' pods: probes, metrics, memory and shutdown."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from PIL import Image, ImageDraw

from app.environment import ENV_PREFIX
from app.guard import keys
from app.server.process import LINGER_SECONDS
from app.settings import Settings
from tests.conftest import GOLDEN
from tests.deploy.manifests import PROBES, Workload, filter_kind, list_workloads, render
from tests.serving import PATIENCE, Process, start_process, wait_until
from tests.versions import make_two_versions

pytestmark = pytest.mark.needs("kubectl")


@contextmanager
def run_pod(workload: Workload, folder: Path, **others: str) -> Iterator[Process]:
    """Run the service with a pod's settings, others and a key, which the client sends."""
    key, entry = keys.create_key("test")
    settings = {
        name.removeprefix(ENV_PREFIX).lower(): value
        for name, value in workload.environment.items()
        if name.startswith(ENV_PREFIX)
    }
    settings["api_keys_file"] = str(folder / "keys.txt")
    (folder / "keys.txt").write_text(entry)
    with start_process(**settings, **others) as service:
        service.client.headers["Authorization"] = f"Bearer {key}"
        yield service


@pytest.mark.parametrize("overlay", ["production", "kserve"])
def test_probes_are_answered_without_a_key(overlay: str, tmp_path: Path) -> None:
    (workload,) = list_workloads(render(overlay))
    with run_pod(workload, tmp_path) as service:
        del service.client.headers["Authorization"]
        assert service.client.get("/models").status_code == 401
        for probe in PROBES:
            assert service.client.get(workload.container[probe]["httpGet"]["path"]).status_code == 200


def test_the_canary_answers_with_its_model_and_does_not_start_without_it(tmp_path: Path) -> None:
    stable, canary = list_workloads(render("canary"))
    models = make_two_versions(tmp_path / "models")
    with run_pod(canary, tmp_path, models_dir=str(models)) as service:
        photo = (GOLDEN / "7-photo.jpg").read_bytes()
        answer = service.client.post("/predict", content=photo, headers={"Content-Type": "image/jpeg"})
        assert answer.json()["model"]["name"] == canary.settings.default_model
    with run_pod(canary, tmp_path) as service:  # with the models of this version's image
        status, log = service.end()
    assert status != 0
    assert "'cnn@2' is not in" in log
    assert stable.settings.default_model == "cnn"


def test_prometheus_can_read_the_metric_that_keda_scales_by(tmp_path: Path) -> None:
    manifests = render("keda")
    (workload,) = list_workloads(manifests)
    (monitor,) = filter_kind(manifests, "ServiceMonitor")
    (scaler,) = filter_kind(manifests, "ScaledObject")
    (endpoint,) = monitor["spec"]["endpoints"]
    with run_pod(workload, tmp_path) as service:
        metrics = service.client.get(endpoint["path"])
    assert metrics.status_code == 200
    query = scaler["spec"]["triggers"][1]["metadata"]["query"]
    (metric,) = re.findall(r"\bdigits_\w+", query)
    assert re.search(rf"^{metric} 0", metrics.text, re.MULTILINE)


def test_a_pod_still_serves_after_sigterm_and_ends_within_its_grace_period(tmp_path: Path) -> None:
    (workload,) = list_workloads(render("production"))
    pre_stop = workload.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    with run_pod(workload, tmp_path) as service:
        service.popen.send_signal(signal.SIGTERM)  # which comes after preStop
        wait_until(lambda: service.ready() == 503)
        photo = (GOLDEN / "7-photo.jpg").read_bytes()
        answer = service.client.post("/predict", content=photo, headers={"Content-Type": "image/jpeg"})
        assert answer.json()["digit"] == 7
        status, _ = service.end()
    assert status == 0
    longest = workload.settings.drain_delay + LINGER_SECONDS + workload.settings.graceful_timeout
    assert longest < workload.pod["terminationGracePeriodSeconds"] - pre_stop


@pytest.fixture
def as_many_cores_as_a_pod_has() -> Iterator[None]:
    """Limit the cores of child processes to those of a pod."""
    (workload,) = list_workloads(render("production"))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[: int(workload.container["resources"]["limits"]["cpu"])])
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports the peak memory of a process")
@pytest.mark.usefixtures("as_many_cores_as_a_pod_has")
def test_the_largest_pictures_that_fit_into_all_places_stay_within_a_pods_memory(tmp_path: Path) -> None:
    (workload,) = list_workloads(render("production"))
    form = build_largest_form(workload.settings)
    with run_pod(workload, tmp_path) as service:
        count = workload.settings.max_in_flight + 8
        service.client.timeout = httpx.Timeout(PATIENCE, pool=None)

        def ask(_: int) -> int:
            return service.client.post("/predict", content=form.content, headers=form.headers).status_code

        with ThreadPoolExecutor(count) as clients:
            assert {200, 503} <= set(clients.map(ask, range(count)))  # some wait too long: 504, 408
        status = Path(f"/proc/{service.popen.pid}/status").read_text()
    peak = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024
    limit = workload.container["resources"]["limits"]["memory"]
    assert peak < int(limit.removesuffix("Gi")) * 1024, f"{peak:.0f} MiB"


def build_largest_form(settings: Settings) -> httpx.Request:
    """Return the form that needs most memory: a transparent WebP of the most pixels, padded to the limit."""
    side = int(settings.max_pixels**0.5)
    image = Image.new("RGBA", (side, side), (255, 255, 255, 0))
    points = [(side * 0.3, side * 0.2), (side * 0.7, side * 0.2), (side * 0.45, side * 0.8)]
    ImageDraw.Draw(image).line(points, fill=(0, 0, 0, 255), width=side // 20)
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=True, method=0)
    overhead = 1024  # bytes of the form around the picture
    picture = file.getvalue().ljust(settings.max_body_bytes - overhead, b"\0")
    form = httpx.Request("POST", "http://pod/predict", files={"file": picture})
    form.read()
    return form
