"""What Ray costs: the service behind Ray's proxies, and one plain process of it beside.

    python -m benchmarks.ray_serve --rounds 5 --seconds 4

Each of Ray's two proxies stands before one replica and before two, on a cluster on this machine. A round asks
the plain process and both in turn. Prints the table of docs/ray.md, medians all; needs wrk and .venv-ray.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import httpx
import yaml

from benchmarks import pictures
from benchmarks.load import Figures, Target, measure_load
from benchmarks.load import median as medians
from benchmarks.serving import Service, serve
from tests.deploy.ray.cluster import START, Cluster, Program
from tests.serving import free_port, wait_until

MANY: Final = 16  # connections: enough for two replicas
REPLICAS: Final = (1, 2)
PROXIES: Final = {"Ray's own": "0", "HAProxy": "1"}  # and RAY_SERVE_ENABLE_HA_PROXY
PROXY: Final = r"ray::(HA)?Proxy|\S*/haproxy "
REPLICA: Final = "ray::ServeReplica"
TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Round:
    """What one target did in one round."""

    one: Figures  # over one connection
    many: Figures
    proxy_ms: float  # of processor time a request, over many connections
    serving_ms: float  # that of the replicas, or of the plain process


@dataclass(frozen=True, slots=True)
class Ray:
    """A cluster that serves."""

    nodes: tuple[Program, ...]
    url: str

    def cpu_seconds(self, title: str) -> float:
        """Return the processor time that processes of this title have used."""
        pids = [pid for node in self.nodes for pid in node.processes(title)]
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split() for pid in pids]
        return sum(int(ticks) for own in fields for ticks in own[11:13]) / TICKS


@contextmanager
def run_cluster(*, haproxy: str) -> Iterator[Ray]:
    """Run a cluster with an application for each number of replicas, at /1 and /2."""
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
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        file = Path(folder) / "serve.yaml"
        file.write_text(yaml.safe_dump(config))
        cluster = Cluster(Path(folder), RAY_SERVE_ENABLE_HA_PROXY=haproxy)
        with (
            cluster.head() as head,
            cluster.worker("worker", cpus=sum(REPLICAS)) as worker,
            cluster.running("serve", "serve", "run", file),
        ):
            ray = Ray((head, worker), f"http://127.0.0.1:{port}")
            wait_until(lambda: len(worker.processes(REPLICA)) == sum(REPLICAS), seconds=START)
            wait_until(lambda: all(_is_ready(f"{ray.url}/{count}") for count in REPLICAS), seconds=START)
            yield ray


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").is_success
    except httpx.TransportError:
        return False


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser("python -m benchmarks.ray_serve")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    arguments = parser.parse_args()
    print("| | requests a second | p50 | p99 | p50 of one alone | proxy | service |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    plain: list[Round] = []
    for proxy, haproxy in PROXIES.items():
        with serve() as service, run_cluster(haproxy=haproxy) as ray:
            rounds: dict[int, list[Round]] = {count: [] for count in REPLICAS}
            for number in range(arguments.rounds + 1):
                seconds = arguments.seconds if number else 1
                pressed = [
                    _measure_round(
                        f"http://127.0.0.1:{service.port}", _meter_process(service), seconds=seconds
                    )
                ]
                pressed += [
                    _measure_round(f"{ray.url}/{count}", ray.cpu_seconds, seconds=seconds)
                    for count in REPLICAS
                ]
                if number:
                    plain.append(pressed[0])
                    for count, one in zip(REPLICAS, pressed[1:], strict=True):
                        rounds[count].append(one)
        for count, found in rounds.items():
            print(_format_row(f"{proxy}, {count} replica{'s' * (count > 1)}", found))
    print(_format_row("one plain process", plain))


def _meter_process(service: Service) -> Callable[[str], float]:
    return lambda title: service.cpu_seconds() if title == REPLICA else 0.0


def _measure_round(url: str, cpu_seconds: Callable[[str], float], *, seconds: int) -> Round:
    target = Target(f"{url}/predict", pictures.SMALL)
    one = measure_load(target, connections=1, seconds=seconds)
    before = [cpu_seconds(title) for title in (PROXY, REPLICA)]
    many = measure_load(target, connections=MANY, seconds=seconds)
    spent = [cpu_seconds(title) - was for title, was in zip((PROXY, REPLICA), before, strict=True)]
    return Round(one, many, *(1e3 * each / (many.rate * seconds) for each in spent))


def _format_row(name: str, rounds: Sequence[Round]) -> str:
    one, many = medians([each.one for each in rounds]), medians([each.many for each in rounds])
    spent = (median(each.proxy_ms for each in rounds), median(each.serving_ms for each in rounds))
    latencies = (many.p50_us, many.p99_us, one.p50_us)
    cells = [
        f"{many.rate:,.0f}",
        *(f"{us / 1e3:.1f} ms" for us in latencies),
        *(f"{ms:.2f} ms" for ms in spent),
    ]
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
