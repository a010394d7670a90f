"""The port of gRPC: opened by every worker, refused at the start if it can't be used, closed gracefully."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading

import grpc
import pytest

from app.settings import Settings
from tests.conftest import ROOT
from tests.rpc.calling import Caller, build_request, image_tensor, picture_tensor
from tests.serving import PATIENCE, free_port, list_workers, serve, start_process, wait_until
from tests.slow import LARGE, SlowDecoder

BLANK = build_request(image_tensor(), raw_input_contents=[bytes(784)])
Status = grpc.StatusCode


def run_app(script: str = "", **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a service that can't start, after a script."""
    script += "import sys, runpy; sys.argv = ['app']; runpy.run_module('app', run_name='__main__')"
    names = {f"DIGITS_{name.upper()}": str(value) for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"DIGITS_PORT": str(free_port()), **names},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_that_is_taken_stops_the_start_with_one_line(workers: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run_app(grpc_port=port, workers=workers)
    assert result.returncode == 2
    assert result.stderr == (
        f"digits can't start: DIGITS_HOST=127.0.0.1 DIGITS_GRPC_PORT={port}: "
        "can't listen there (Address already in use)\n"
    )


def test_the_port_of_another_service_with_several_workers_is_taken() -> None:
    port = free_port()
    with start_process(grpc_port=str(port), workers="2"):
        result = run_app(grpc_port=port, workers=2)
    assert result.returncode == 2
    assert "can't listen there" in result.stderr


def test_a_port_for_both_protocols_is_refused() -> None:
    result = run_app(port=18000, grpc_port=18000)
    assert result.returncode == 2
    assert "DIGITS_GRPC_PORT=18000: it can't be DIGITS_PORT, where HTTP is served." in result.stderr


@pytest.mark.parametrize("module", ["grpc", "google.protobuf"])
def test_without_the_extra_the_message_says_how_to_install_it(module: str) -> None:
    result = run_app(f"import sys; sys.modules[{module!r}] = None; ", grpc_port=18000)
    assert result.returncode == 2
    assert result.stderr.startswith(
        "digits can't start: DIGITS_GRPC_PORT=18000: the extra 'grpc' is not installed "
        f"({module} is missing): pip install 'digits[grpc]'."
    )


def test_without_the_extra_and_the_port_the_service_starts() -> None:
    script = (
        "import sys; sys.modules['grpc'] = sys.modules['google.protobuf'] = None\n"
        "from app.main import create_app\n"
        "from fastapi.testclient import TestClient\n"
        "with TestClient(create_app()) as client: print(client.get('/v2/health/ready').status_code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout == "200\n"


def test_every_worker_serves_and_its_successors_do_after_a_reload() -> None:
    port = free_port()
    with start_process(grpc_port=str(port), workers="2") as running:
        before = list_workers(running)
        assert len(before) == 2

        def ask() -> bool:
            caller = Caller(port, running.client)  # of its own connection, which reaches any worker
            answer = caller.call("ModelInfer", BLANK, wait_for_ready=True)
            caller.channel.close()
            return answer.code is Status.OK

        assert all(ask() for _ in range(8))
        running.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: list_workers(running).isdisjoint(before))
        assert all(ask() for _ in range(8))
        running.popen.terminate()
        assert running.end()[0] == 0


def test_a_call_in_flight_is_answered_before_the_service_ends(slow_decoder: SlowDecoder) -> None:
    port = free_port()
    with serve(Settings(grpc_port=port)) as client:
        caller = Caller(port, client)
        call = caller.begin("ModelInfer", build_request(picture_tensor(LARGE)))
        wait_until(lambda: slow_decoder.begun > 0)
        late = threading.Thread(target=_release_when_closed, args=(port, slow_decoder))
        late.start()
    assert call.code() is Status.OK
    late.join()
    caller.channel.close()


def _release_when_closed(port: int, decoder: SlowDecoder) -> None:
    """Let pictures go on as soon as nobody new is let in."""
    wait_until(lambda: _refuses(port))
    decoder.go_on.set()


def _refuses(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) != 0
