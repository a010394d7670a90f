"""Compares the service with other ways to serve a network: `make bench-peers`.

Every peer is installed in its own environment, runs on one core, as the service does, and reads the same
picture with the same network of 29 million multiply-adds. It is measured in alternation with the service,
with the peers' network and with the service's own. A peer that gives wrong answers is not measured. Prints
medians and ratios, and writes them as JSON; `python -m benchmarks.peers.plot` draws latency against offered
load.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import cv2
import httpx
import numpy as np

from app.digits.catalogue import Catalogue
from app.digits.process import set_up_process
from benchmarks import pictures
from benchmarks.load import CONNECTIONS, Target, measure_alternating, median, ratio
from benchmarks.offered import measure_offered
from benchmarks.peers.table import COMMON, HERE, PEERS, WORK, Peer
from benchmarks.serving import ROOT, free_port, serve, start, wait_until_served

RESULTS_FILE: Final = Path("bench-peers.json")
OFFERED_RATES: Final = (100, *range(200, 2600, 200), *range(2600, 5001, 400))
MIN_SERVED_SHARE: Final = 0.97  # of the offered load; when less is served, the load is not increased further
OURS: Final = "digits"
OURS_WITH_PEER_NETWORK: Final = "digits, the peers' network"


def main() -> None:
    """Measure everything, print it, and write the file."""
    parser = argparse.ArgumentParser("python -m benchmarks.peers")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds of each comparison (3)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a round (3)")
    parser.add_argument("--only", nargs="*", default=[peer.name for peer in PEERS], help="names of peers")
    arguments = parser.parse_args()
    set_up_process()  # the peers inherit the environment
    if not (WORK / "peer.keras").exists():
        subprocess.run([sys.executable, "-m", "benchmarks.peers.network", str(WORK)], cwd=ROOT, check=True)
    settings = {"DIGITS_MODELS_DIR": str(WORK), "DIGITS_DEFAULT_MODEL": "peer"}
    with serve() as service, serve(settings=settings) as with_peer_network:
        services = {OURS: service, OURS_WITH_PEER_NETWORK: with_peer_network}
        ours = {name: service.target("/predict", pictures.SMALL) for name, service in services.items()}
        results: dict[str, Any] = {name: {"load": measure_loads(target)} for name, target in ours.items()}
        for peer in (peer for peer in PEERS if peer.name in arguments.only):
            install(peer)
            with start_peer(peer) as target:
                results[peer.name] = compare(ours, target, rounds=arguments.rounds, seconds=arguments.seconds)
            print(f"{peer.name}:", json.dumps(results[peer.name]), flush=True)
    RESULTS_FILE.write_text(json.dumps(results, indent=2) + "\n")


def install(peer: Peer) -> None:
    """Create the peer's environment, unless it exists."""
    ready = peer.folder / "ready"
    if not ready.exists():
        print(f"installing {peer.name}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(peer.folder)], check=True)
        pip = [str(peer.folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *peer.packages, *COMMON], check=True)
        ready.touch()


@contextmanager
def start_peer(peer: Peer) -> Iterator[Target]:
    """Run a peer on the service's core, check its answers, and yield its target."""
    port = free_port()
    shutil.rmtree(WORK / peer.folder.name, ignore_errors=True)
    environment = {
        "PORT": str(port),
        "PATH": f"{peer.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(HERE),
        "PEER_MODEL": str(WORK / "peer" / "model.onnx"),
        "PEER_KERAS": str(WORK / "peer.keras"),
        **{name: value.format(port=port) for name, value in peer.environment.items()},
    }
    log = WORK / f"{peer.folder.name}.log"
    target = Target(f"http://127.0.0.1:{port}{peer.path}", *peer.body(pictures.SMALL))
    with start(peer.fill_in_command(port), environment=environment, log=log, folder=WORK) as process:
        if not wait_until_served(lambda: send_picture(target, target.body), process):
            sys.exit(f"{peer.name} does not serve {target.url}: see {log}")
        check_answers(peer, target)
        yield target


def check_answers(peer: Peer, target: Target) -> None:
    """Compare the peer's answers with the network's.

    Raises:
        SystemExit: an answer differs.
    """
    classifier = Catalogue.load(WORK, default="peer").get().classifier
    for file in sorted(pictures.GOLDEN.glob("*-canvas-black-on-white.png.canonical.png")):
        batch = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)[None]
        (probabilities,), _ = classifier.classify(batch)
        prediction = unwrap_answer(send_picture(target, peer.body(file.read_bytes())[0]).json())
        if prediction["digit"] != probabilities.argmax() or not np.allclose(
            prediction["probabilities"], probabilities, atol=1e-4
        ):
            sys.exit(f"{peer.name} answers {prediction} to {file.name}; the network gives {probabilities}")


def send_picture(target: Target, body: bytes) -> httpx.Response:
    """Send one request."""
    return httpx.post(target.url, content=body, headers={"Content-Type": target.content_type}, timeout=10)


def unwrap_answer(answer: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return digit and probabilities from the answer of any peer."""
    if "outputs" in answer:  # tensors of version 2 of the inference protocol
        tensors = {tensor["name"]: tensor["data"] for tensor in answer["outputs"]}
        return {"digit": tensors["digit"][0], "probabilities": tensors["probabilities"]}
    (prediction,) = answer.get("predictions", [answer])
    return dict(prediction)


def compare(ours: Mapping[str, Target], target: Target, *, rounds: int, seconds: float) -> dict[str, Any]:
    """Measure the service and the peer in alternation, then offer the peer an increasing load."""
    targets = {**ours, "peer": target}
    results: dict[str, Any] = {}
    for connections in CONNECTIONS:
        figures = measure_alternating(targets, connections=connections, rounds=rounds, seconds=seconds)
        results[f"{connections} connections"] = {
            name: median(each).round() for name, each in figures.items()
        } | {f"{name} over it": round(ratio(figures[name], figures["peer"]), 2) for name in ours}
    return results | {"load": measure_loads(target)}


def measure_loads(target: Target) -> list[dict[str, Any]]:
    """Offer an increasing load until the target no longer serves all of it."""
    results = []
    for rate in OFFERED_RATES:
        load = measure_offered(target, rate=rate, seconds=2.0)
        results.append(asdict(load))
        if load.served < MIN_SERVED_SHARE * rate:
            break
    return results


if __name__ == "__main__":
    main()
