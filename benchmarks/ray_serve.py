"""What Ray costs: `python -m benchmarks.ray_serve --rounds 5 --seconds 4` prints the table of docs/ray.md.

Measures one plain process of the service in alternation with the service behind each of Ray's two proxies,
with one replica and with two, on a cluster on this machine. Needs wrk and .venv-ray.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import yaml

from benchmarks import pictures
from benchmarks.figures import alternate, print_table
from benchmarks.load import Figures, Target, measure_load, median
from benchmarks.processes import read_cpu_seconds
from benchmarks.serving import Service, free_port, serve
from tests.deploy.ray.cluster import START, Cluster, Program
from tests.serving import wait_until

CONNECTIONS: Final = 16  # enough for two replicas
REPLICAS: Final = (1, 2)
PROXIES: Final = {"Ray's own": "0", "HAProxy": "1"}  # and RAY_SERVE_ENABLE_HA_PROXY
PROXY: Final = r"ray::(HA)?Proxy|\S*/haproxy "  # titles of processes
REPLICA: Final = "ray::ServeReplica"
PLAIN: Final = "one plain process"
HEADER: Final = ("", "requests a second", "p50", "p99", "p50 of one alone", "proxy", "service")

CpuMeter = Callable[[], tuple[float, float]]  # → seconds of processor time of proxies, and of what serves


@dataclass(frozen=True, slots=True)
class Round:
    """What one target did in one round."""

    alone: Figures  # over one connection
    many: Figures
    proxy_ms: float  # processor time of a request, over many connections
    service_ms: float


@contextmanager
def run_cluster(*, haproxy: str) -> Iterator[tuple[str, CpuMeter]]:
    """Run a cluster with an application for each number of replicas, at /1 and /2; yield its address."""
    port = free_port()
    applications = [
        {
            "name": f"of-{count}",
            "route_prefix": f"/{count}",
            "import_path": "deploy.ray.serve:app",
            "deployments": [{"name": "Digits", "num_replicas": count}],
        }
        for count in REPLICAS
    ]
    config = {
        "proxy_location": "HeadOnly",
        "http_options": {"host": "127.0.0.1", "port": port},
        "logging_config": {"enable_access_log": False},
        "applications": applications,
    }
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        file = Path(folder) / "serve.yaml"
        file.write_text(yaml.safe_dump(config))
        cluster = Cluster(Path(folder), RAY_SERVE_ENABLE_HA_PROXY=haproxy)
        with (
            cluster.head() as head,
            cluster.worker("worker", cpus=sum(REPLICAS)) as worker,
            cluster.running("serve", "serve", "run", file),
        ):
            wait_until(lambda: len(worker.processes(REPLICA)) == sum(REPLICAS), seconds=START)
            wait_until(lambda: all(_is_ready(f"{url}/{count}") for count in REPLICAS), seconds=START)
            yield url, lambda: (_measure_cpu([head, worker], PROXY), _measure_cpu([head, worker], REPLICA))


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").is_success
    except httpx.TransportError:
        return False


def _measure_cpu(nodes: Sequence[Program], title: str) -> float:
    return read_cpu_seconds(*(pid for node in nodes for pid in node.processes(title)))


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser("python -m benchmarks.ray_serve")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    arguments = parser.parse_args()
    results: dict[str, list[Round]] = {}
    plain: list[Round] = []
    for proxy, haproxy in PROXIES.items():
        with serve() as service, run_cluster(haproxy=haproxy) as (url, cpu_meter):
            measures = {PLAIN: _measure(service.target("/predict", pictures.SMALL), _meter(service))}
            for count in REPLICAS:
                target = Target(f"{url}/{count}/predict", pictures.SMALL)
                measures[f"{proxy}, {count} replica{'s' * (count > 1)}"] = _measure(target, cpu_meter)
            found = alternate(measures, rounds=arguments.rounds, seconds=arguments.seconds)
        plain += found.pop(PLAIN)
        results |= found
    print_table(
        HEADER, [(name, *_format_cells(rounds)) for name, rounds in (results | {PLAIN: plain}).items()]
    )


def _meter(service: Service) -> CpuMeter:
    return lambda: (0.0, service.cpu_seconds())


def _measure(target: Target, cpu_meter: CpuMeter) -> Callable[[float], Round]:
    def measure(seconds: float) -> Round:
        alone = measure_load(target, connections=1, seconds=seconds)
        before = cpu_meter()
        many = measure_load(target, connections=CONNECTIONS, seconds=seconds)
        proxy, service = (now - then for now, then in zip(cpu_meter(), before, strict=True))
        requests = many.rate * seconds
        return Round(alone, many, proxy_ms=1e3 * proxy / requests, service_ms=1e3 * service / requests)

    return measure


def _format_cells(rounds: Sequence[Round]) -> Iterator[str]:
    alone, many = median(each.alone for each in rounds), median(each.many for each in rounds)
    yield f"{many.rate:,.0f}"
    for microseconds in (many.p50_us, many.p99_us, alone.p50_us):
        yield f"{microseconds / 1e3:.1f} ms"
    yield f"{statistics.median(each.proxy_ms for each in rounds):.2f} ms"
    yield f"{statistics.median(each.service_ms for each in rounds):.2f} ms"


if __name__ == "__main__":
    main()
