"""deploy/ray/serve.yaml on a real cluster on this machine: a head and two nodes, processes of their own."""

from __future__ import annotations

import base64
import copy
import csv
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

from app.environment import ENV_PREFIX
from app.settings import Settings
from tests.api.costly_pictures import png
from tests.conftest import GOLDEN, HOSTILE, ROOT, golden_uploads
from tests.deploy.ray.cluster import START, Cluster, Program
from tests.serving import PATIENCE, free_port, serve, wait_until

CONFIG: Final = ROOT / "deploy" / "ray" / "serve.yaml"
REPLICA: Final = "ray::ServeReplica:digits:"
SEVEN: Final = (GOLDEN / "7-photo.jpg").read_bytes()
NINE: Final = (GOLDEN / "9-one-bit.png").read_bytes()
TEXT: Final = "text/plain; charset=utf-8"  # of Ray's own answers
BYTES: Final = {"Content-Type": "application/octet-stream"}
IN_FLIGHT: Final = 8  # fewer than in the file, so that fewer clients fill the service
LARGEST: Final = 200_000  # bytes of a body: so few that clients have sent them when they are refused
REPLICAS: Final = 2
PICTURES: Final = 300  # seconds of work
OTHER: Final = "/other"  # another application, of one replica, to which Ray lets no more
ONGOING: Final = 4
QUEUED: Final = 4

pytestmark = pytest.mark.needs("ray")


@dataclass(frozen=True, slots=True)
class Deployed:
    cluster: Cluster
    nodes: dict[str, Program]
    config: dict[str, Any]
    client: httpx.Client

    def replicas(self) -> list[int]:
        return [pid for node in self.nodes.values() for pid in node.processes(REPLICA)]

    def complete(self) -> None:
        """Wait until all replicas have answered: a new one does not get requests at once."""

        def all_have_answered() -> bool:
            self.client.get("/metrics")
            logs = [self.cluster.read_log(replica) for replica in self.replicas()]
            return len(logs) == REPLICAS and all('"route":"/metrics"' in log for log in logs)

        wait_until(all_have_answered, seconds=START)


def configure(port: int) -> dict[str, Any]:
    """Return the file's content with lower limits for this machine, and with a second application."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    config["proxy_location"] = "HeadOnly"  # the nodes share an address
    config["http_options"] |= {"host": "127.0.0.1", "port": port, "request_timeout_s": START}
    (application,) = config["applications"]
    (deployment,) = application["deployments"]
    deployment["autoscaling_config"]["max_replicas"] = deployment["autoscaling_config"]["min_replicas"]
    application["runtime_env"]["env_vars"] |= {
        "DIGITS_MAX_IN_FLIGHT": str(IN_FLIGHT),
        "DIGITS_MAX_BATCH": str(IN_FLIGHT),
        "DIGITS_MAX_BODY_BYTES": str(LARGEST),
        "DIGITS_READ_TIMEOUT": "600",  # uploads are held up here
    }
    other = copy.deepcopy(application) | {"name": "other", "route_prefix": OTHER}
    other["runtime_env"]["env_vars"]["DIGITS_TRUSTED_PROXIES"] = "10.0.0.0/8"
    narrow = {"max_ongoing_requests": ONGOING, "max_queued_requests": QUEUED}
    other["deployments"] = [{"name": "Digits", "health_check_period_s": 0.1, **narrow}]
    config["applications"].append(other)
    return config


@pytest.fixture(scope="module")
def deployed() -> Iterator[Deployed]:
    port = free_port()
    config = configure(port)
    with ExitStack() as stack:
        # pytest's folders have paths too long for the sockets in them
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-")))
        cluster = Cluster(folder)
        head = stack.enter_context(cluster.head())
        nodes = {name: stack.enter_context(cluster.worker(name, cpus=4)) for name in ("one", "two")}
        stack.enter_context(deploy(cluster, config, folder))
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE))
        deployed = Deployed(cluster, {"head": head, **nodes}, config, client)
        wait_until(
            lambda: get_status(client, "/health/ready") == get_status(client, f"{OTHER}/health/ready") == 200,
            seconds=START,
        )
        deployed.complete()
        yield deployed


@contextmanager
def deploy(cluster: Cluster, config: dict[str, Any], folder: Path) -> Iterator[Program]:
    file = folder / "serve.yaml"
    file.write_text(yaml.safe_dump(config))
    with cluster.run_program("serve", "serve", "run", file) as program:
        yield program


def get_status(client: httpx.Client, path: str) -> int | None:
    try:
        return client.get(path).status_code
    except httpx.TransportError:
        return None


@pytest.fixture(scope="module")
def alone(deployed: Deployed) -> Iterator[httpx.Client]:
    """The service in one process, with the same settings."""
    variables = deployed.config["applications"][0]["runtime_env"]["env_vars"]
    settings = {name.removeprefix(ENV_PREFIX).lower(): value for name, value in variables.items()}
    with serve(Settings.model_validate(settings)) as client:
        yield client


class Upload:
    """A request of which only the first byte of the body has been sent."""

    def __init__(self, client: httpx.Client, path: str, body: bytes) -> None:
        self._connection = HTTPConnection("127.0.0.1", client.base_url.port, timeout=PATIENCE)
        self._rest = body[1:]
        self._connection.request("POST", path, body[:1], {**BYTES, "Content-Length": str(len(body))})

    def is_answered(self) -> bool:
        return bool(select.select([self._connection.sock], [], [], 0)[0])

    def answer(self) -> httpx.Response:
        """Send the rest of the body, unless there is an answer already, and return the answer."""
        if not self.is_answered():
            self._connection.send(self._rest)
        with closing(self._connection):
            response = self._connection.getresponse()
            return httpx.Response(response.status, headers=response.getheaders(), content=response.read())


def uploads(
    client: httpx.Client, path: str, body: bytes, *, count: int, answered: int
) -> list[httpx.Response]:
    """Begin so many requests, wait until `answered` of them have an answer, and complete the others."""
    sent = [Upload(client, path, body) for _ in range(count)]
    wait_until(lambda: sum(each.is_answered() for each in sent) >= answered)
    return [each.answer() for each in sent]


FORM: Final = {"file": SEVEN}
CALLS: Final[list[tuple[str, str, dict[str, Any]]]] = [
    *(("POST", "/predict", {"content": file.read_bytes(), "headers": BYTES}) for file in golden_uploads()),
    ("POST", "/predict", {"files": FORM}),
    ("POST", "/predict?model=mlp-128&view=true", {"files": FORM}),
    ("POST", "/predict", {"json": {"image": base64.b64encode(SEVEN).decode()}}),
    ("POST", "/predict/batch", {"files": [("files", SEVEN), ("files", b"no picture"), ("files", NINE)]}),
    ("POST", "/predict/batch", {"files": [("files", NINE)] * (IN_FLIGHT + 1)}),
    ("POST", "/predict/number", {"files": {"file": (ROOT / "tests/data/numbers/4071.jpg").read_bytes()}}),
    ("POST", "/predict", {"files": {"file": (HOSTILE / "white.png").read_bytes()}}),
    ("POST", "/predict", {"files": {"file": (HOSTILE / "bomb.png").read_bytes()}}),
    ("POST", "/predict", {"content": bytes(LARGEST + 1), "headers": BYTES}),
    ("POST", "/predict", {"content": "seven", "headers": {"Content-Type": "text/plain"}}),
    ("POST", "/predict?model=none", {"files": FORM}),
    ("POST", "/v2/models/cnn/infer", {"json": {"inputs": []}}),
    ("GET", "/predict", {}),
    ("GET", "/nowhere", {}),
    ("GET", "/models", {}),
    ("GET", "/v2/models/cnn", {}),
    ("GET", "/health/live", {}),
    ("GET", "/openapi.json", {}),
    ("GET", "/docs", {}),
    ("GET", "/", {"headers": {"Host": "digits.example.org"}}),  # the page names its own address
]
DIFFERENT: Final = {"date", "server", "server-timing"}


def answer(client: httpx.Client, method: str, path: str, sent: dict[str, Any]) -> tuple[int, Any, bytes]:
    headers = {**sent.get("headers", {}), "X-Request-ID": "the same"}
    response = client.request(method, path, **{**sent, "headers": headers})
    same = sorted((name, value) for name, value in response.headers.multi_items() if name not in DIFFERENT)
    return response.status_code, same, response.content


def test_answers_are_those_of_a_single_process(deployed: Deployed, alone: httpx.Client) -> None:
    for method, path, sent in CALLS:
        expected = answer(alone, method, path, sent)
        assert answer(deployed.client, method, path, sent) == expected, (method, path)


def test_answers_at_another_prefix_are_the_same(deployed: Deployed, alone: httpx.Client) -> None:
    for method, path, sent in CALLS:
        if path not in {"/openapi.json", "/"}:  # which name the prefix
            expected = answer(alone, method, path, sent)
            assert answer(deployed.client, method, OTHER + path, sent)[::2] == expected[::2], (method, path)


def test_every_answer_has_one_id_which_its_problem_names(deployed: Deployed) -> None:
    response = deployed.client.get("/nowhere")
    assert response.headers.get_list("X-Request-ID") == [response.json()["request_id"]]


def test_trusted_proxies_in_front_of_rays_name_the_client(deployed: Deployed) -> None:
    through = {"X-Forwarded-For": "203.0.113.5, 10.0.0.1"}
    deployed.client.get(f"{OTHER}/models", headers=through)
    nodes = ("one", "two")  # whose log comes after the answer
    wait_until(lambda: any('"client":"203.0.113.5"' in deployed.cluster.read_logs(node) for node in nodes))


def test_ray_checks_whether_replicas_are_ready(deployed: Deployed) -> None:
    def count_checks() -> float:
        metrics = deployed.client.get(f"{OTHER}/metrics").text
        return float(
            re.findall(r'digits_requests_total{.*route="/health/ready",status="200"} (.*)', metrics)[0]
        )

    before = count_checks()
    wait_until(lambda: count_checks() > before + 3)


def test_a_replica_decodes_on_as_many_threads_as_it_has_cores(deployed: Deployed) -> None:
    one_and_one_in_reserve = "\ndigits_threads 2.0\n"
    assert one_and_one_in_reserve in deployed.client.get("/metrics").text


def test_a_busy_service_refuses_before_ray(deployed: Deployed) -> None:
    # a batch takes all places of a replica, for some tenths of a second: each picture has 40 blank megapixels
    batch = [("files", ("blank.png", png(8, 0), "image/png"))] * IN_FLIGHT
    refused: list[httpx.Response] = []

    def ask(_: int) -> httpx.Response:
        return deployed.client.post("/predict/batch", files=batch)

    def send_more_than_there_are_places_for() -> bool:
        with ThreadPoolExecutor(4 * REPLICAS) as clients:
            answers = list(clients.map(ask, range(4 * REPLICAS)))
        assert {each.status_code for each in answers} <= {200, 503, 504}
        refused.extend(each for each in answers if each.status_code == 503)
        return bool(refused)

    wait_until(send_more_than_there_are_places_for)
    assert {(each.headers["Retry-After"], each.json()["code"]) for each in refused} == {("1", "overloaded")}


def test_ray_refuses_requests_that_fit_neither_a_replica_nor_its_queue(deployed: Deployed) -> None:
    room, more = ONGOING + QUEUED, 40
    answers = uploads(deployed.client, f"{OTHER}/predict", NINE, count=room + more, answered=more // 2)
    refused = [each for each in answers if each.status_code != 200]
    assert {(each.status_code, each.headers["Retry-After"]) for each in refused} == {(503, "1")}
    assert {each.headers["Content-Type"] for each in refused} == {TEXT}
    assert len(answers) - len(refused) >= ONGOING


def test_an_update_ends_no_replica_before_its_requests(deployed: Deployed, tmp_path: Path) -> None:
    config = copy.deepcopy(deployed.config)
    config["applications"][1]["runtime_env"]["env_vars"]["DIGITS_DEFAULT_MODEL"] = "mlp-128"
    file = tmp_path / "updated.yaml"
    file.write_text(yaml.safe_dump(config))

    def model() -> str:
        response = deployed.client.post(f"{OTHER}/predict", content=NINE, headers=BYTES)
        return str(response.json()["model"]["name"])

    assert model() == "cnn"
    old = Upload(deployed.client, f"{OTHER}/predict", NINE)
    with deployed.cluster.run_program("update", "serve", "run", "--non-blocking", file):
        wait_until(lambda: model() == "mlp-128", seconds=START)
    assert old.answer().json()["model"]["name"] == "cnn"
    wait_until(lambda: '"stopped"' in deployed.cluster.read_logs("one") + deployed.cluster.read_logs("two"))


def test_a_killed_replica_loses_no_picture(deployed: Deployed, tmp_path: Path) -> None:
    with pictures_are_read(deployed, tmp_path):
        os.kill(deployed.replicas()[0], signal.SIGKILL)


def test_a_killed_node_loses_no_picture(deployed: Deployed, tmp_path: Path) -> None:
    with pictures_are_read(deployed, tmp_path):
        next(node for node in deployed.nodes.values() if node.processes(REPLICA)).kill()


@contextmanager
def pictures_are_read(deployed: Deployed, folder: Path) -> Iterator[None]:
    """Have `python -m app.client` read a folder, and uploads under way, while the block runs."""
    pictures, table = folder / "nines", folder / "table.csv"
    pictures.mkdir()
    for number in range(PICTURES):
        (pictures / f"{number}.png").write_bytes(NINE)
    deployed.complete()
    # Ray asks the replica that has fewest requests, so that each has some of these
    sent = [Upload(deployed.client, "/predict", NINE) for _ in range(4 * REPLICAS)]
    words = [pictures, "--csv", table, "--url", deployed.client.base_url]
    with subprocess.Popen([sys.executable, "-m", "app.client", *map(str, words)], cwd=ROOT) as reading:
        wait_until(lambda: table.exists() and table.read_text().count("\n") > PICTURES / 10)
        yield
        wait_until(lambda: any(each.is_answered() for each in sent))
    assert reading.returncode == 0
    rows = list(csv.DictReader(table.read_text("utf-8-sig").splitlines()))
    assert [row["digit"] for row in rows] == ["9"] * PICTURES
    answers = [each.answer() for each in sent]
    lost = [each for each in answers if each.status_code != 200]
    # as docs/ray.md says, and as `python -m app.client` expects
    assert {(each.status_code, each.headers["Content-Type"]) for each in lost} == {(500, TEXT)}
    wait_until(lambda: deployed.client.post("/predict", content=NINE, headers=BYTES).status_code == 200)
