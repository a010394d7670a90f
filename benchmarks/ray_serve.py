"""Measures what Ray costs: `python -m benchmarks.ray_serve --rounds 5 --seconds 4`.

Prints the table of docs/ray.md. Compares a single process of the service, in alternation, with the service
behind each of Ray's two proxies, with one and with two replicas, on a cluster on this machine. Needs wrk and
.venv-ray.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import yaml

from benchmarks import pictures
from benchmarks.figures import print_table
from benchmarks.load import Figures, Target, measure_alternating, median
from benchmarks.serving import free_port, serve
from tests.deploy.ray.cluster import START, Cluster
from tests.serving import wait_until

CONNECTIONS: Final = 16  # enough for two replicas
REPLICAS: Final = (1, 2)
PROXIES: Final = {"Ray's own": "0", "HAProxy": "1"}  # proxy → RAY_SERVE_ENABLE_HA_PROXY
REPLICA: Final = "ray::ServeReplica"  # begins the titles of replicas' processes
HEADER: Final = ("", "requests a second", "p50", "p99", "p50 of one connection")


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser("python -m benchmarks.ray_serve")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    options = vars(parser.parse_args())
    rows: dict[str, tuple[str, ...]] = {}
    for proxy, haproxy in PROXIES.items():
        with serve() as service, run_cluster(haproxy=haproxy) as url:
            targets = {"one plain process": service.target("/predict", pictures.SMALL)}
            for count in REPLICAS:
                name = f"{proxy}, {count} replica{'s' * (count > 1)}"
                targets[name] = Target(f"{url}/{count}/predict", pictures.SMALL)
            many = measure_alternating(targets, connections=CONNECTIONS, **options)
            alone = measure_alternating(targets, connections=1, **options)
        rows |= {name: format_cells(median(many[name]), median(alone[name])) for name in targets}
    print_table(HEADER, [(name, *cells) for name, cells in rows.items()])


def format_cells(many: Figures, alone: Figures) -> tuple[str, ...]:
    """Return the figures of a row."""
    milliseconds = (f"{latency / 1e3:.1f} ms" for latency in (many.p50_us, many.p99_us, alone.p50_us))
    return (f"{many.rate:,.0f}", *milliseconds)


@contextmanager
def run_cluster(*, haproxy: str) -> Iterator[str]:
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
            cluster.head(),
            cluster.worker("worker", cpus=sum(REPLICAS)) as worker,
            cluster.run_program("serve", "serve", "run", file),
        ):
            wait_until(lambda: len(worker.processes(REPLICA)) == sum(REPLICAS), seconds=START)
            wait_until(lambda: all(_is_ready(f"{url}/{count}") for count in REPLICAS), seconds=START)
            yield url


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").is_success
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    main()
