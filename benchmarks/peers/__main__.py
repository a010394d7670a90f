"""Compares the service with other ways to serve a network: `make bench-peers`.

Every peer is installed in an environment of its own, gets one core, as the service does, and serves the same
network of 29 million multiply-adds for the same picture; it is asked in turn with the service, which answers
with that network and with its own. A peer that answers wrongly is not measured. Prints medians and ratios and
writes them as JSON; `python -m benchmarks.peers.plot` draws latency against offered load.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
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
from benchmarks.serving import ROOT, SERVER, free_port, pin_to_cores, serve

START: Final = 120.0  # seconds
LOADS: Final = (100, 200, 400, 600, 800, 1000, 1200, 1400, 1600, 1800, 2000, 2200, 2400, 2600)
SATURATED: Final = 0.97  # of what is offered; when less is served, more is not offered
OURS: Final = "digits"
OURS_SAME: Final = "digits, the peers' network"


def main() -> None:
    """Measure all, print, and write the file."""
    parser = argparse.ArgumentParser("python -m benchmarks.peers")
    parser.add_argument("--rounds", type=int, default=3, help="of everything that is compared (3)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round (3)")
    parser.add_argument("--only", nargs="*", default=[peer.name for peer in PEERS], help="names of peers")
    parser.add_argument("--out", type=Path, default=Path("bench-peers.json"))
    arguments = parser.parse_args()
    set_up_process()  # the peers inherit the environment
    if not (WORK / "peer.keras").exists():
        subprocess.run([sys.executable, "-m", "benchmarks.peers.network", str(WORK)], cwd=ROOT, check=True)
    same = {"DIGITS_MODELS_DIR": str(WORK), "DIGITS_DEFAULT_MODEL": "peer"}
    with serve() as own, serve(settings=same) as with_same:
        ours = {
            OURS: Target(f"http://127.0.0.1:{own.port}/predict", pictures.SMALL),
            OURS_SAME: Target(f"http://127.0.0.1:{with_same.port}/predict", pictures.SMALL),
        }
        results: dict[str, Any] = {name: {"load": measure_loads(target)} for name, target in ours.items()}
        for peer in (peer for peer in PEERS if peer.name in arguments.only):
            install(peer)
            with start_peer(peer) as target:
                results[peer.name] = compare(ours, target, rounds=arguments.rounds, seconds=arguments.seconds)
            print(f"{peer.name}:", json.dumps(results[peer.name]), flush=True)
    arguments.out.write_text(json.dumps(results, indent=2) + "\n")


def install(peer: Peer) -> None:
    """Make its environment, unless it is there."""
    done = peer.folder / "ready"
    if not done.exists():
        print(f"installing {peer.name}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(peer.folder)], check=True)
        pip = [str(peer.folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *peer.packages, *COMMON], check=True)
        done.touch()


@contextmanager
def start_peer(peer: Peer) -> Iterator[Target]:
    """Serve by that peer on the service's core, and see that it reads the picture, until the block ends."""
    port = free_port()
    work = WORK / peer.folder.name
    shutil.rmtree(work, ignore_errors=True)
    own = {name: value.format(port=port) for name, value in peer.environment.items()}
    bin_first = f"{peer.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    model = {"PEER_MODEL": str(WORK / "peer" / "model.onnx"), "PEER_KERAS": str(WORK / "peer.keras")}
    environment = os.environ | {"PORT": str(port), "PYTHONPATH": str(HERE), "PATH": bin_first} | model | own
    log_file = WORK / f"{peer.folder.name}.log"
    with log_file.open("wb") as log:
        if peer.prepare:
            subprocess.run(peer.line(peer.prepare), env=environment, stdout=log, stderr=log, check=True)
        line = pin_to_cores(SERVER, peer.line(peer.command, port=port))
        process = subprocess.Popen(
            line, cwd=WORK, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    target = Target(f"http://127.0.0.1:{port}{peer.path}", *peer.body(pictures.SMALL))
    try:
        wait_until_served(target, process, log_file)
        check_answers(peer, target)
        yield target
    finally:
        end_process(process)


def end_process(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, sign)
            process.wait(20)


def wait_until_served(target: Target, process: subprocess.Popen[bytes], log: Path) -> None:
    """Ask until the picture is answered.

    Raises:
        SystemExit: the peer has ended, or does not answer in time.
    """
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if send_picture(target, target.body).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    sys.exit(f"{target.url} is not served, see {log}")


def check_answers(peer: Peer, target: Target) -> None:
    """Compare the peer's answers with the network's own.

    Raises:
        SystemExit: one differs.
    """
    classifier = Catalogue.load(WORK, default="peer").get().classifier
    for file in sorted(pictures.GOLDEN.glob("*-canvas-black-on-white.png.canonical.png")):
        batch = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)[None]
        (probabilities,), _ = classifier.classify(batch)
        prediction = unwrap_answer(send_picture(target, peer.body(file.read_bytes())[0]).json())
        if prediction["digit"] != probabilities.argmax() or not np.allclose(
            prediction["probabilities"], probabilities, atol=1e-4
        ):
            sys.exit(f"{peer.name} reads {file.name} as {prediction}, the network says {probabilities}")


def send_picture(target: Target, body: bytes) -> httpx.Response:
    """Ask once."""
    return httpx.post(target.url, content=body, headers={"Content-Type": target.content_type}, timeout=10)


def unwrap_answer(answer: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return digit and probabilities, whatever they are wrapped in."""
    if "outputs" in answer:  # tensors of the inference protocol's version 2
        tensors = {tensor["name"]: tensor["data"] for tensor in answer["outputs"]}
        return {"digit": tensors["digit"][0], "probabilities": tensors["probabilities"]}
    (one,) = answer.get("predictions", [answer])
    return dict(one)


def compare(ours: Mapping[str, Target], target: Target, *, rounds: int, seconds: float) -> dict[str, Any]:
    """Ask us and the peer in turn, then offer the peer more and more."""
    found: dict[str, Any] = {}
    for connections in CONNECTIONS:
        figures = measure_alternating(
            {**ours, "peer": target}, connections=connections, rounds=rounds, seconds=seconds
        )
        found[f"{connections} connections"] = {
            name: median(each).round() for name, each in figures.items()
        } | {f"{name} over it": round(ratio(figures[name], figures["peer"]), 2) for name in ours}
    return found | {"load": measure_loads(target)}


def measure_loads(target: Target) -> list[dict[str, float]]:
    """Offer more and more until not all of it is served."""
    found = []
    for rate in LOADS:
        one = measure_offered(target, rate=rate, seconds=2.0)
        found.append(asdict(one))
        if one.served < SATURATED * rate:
            break
    return found


if __name__ == "__main__":
    main()
