"""The service makes no outgoing connections: it works without a network, and sends nothing into one."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT

NETWORK = """
ip link set lo up
sysctl -qw net.ipv6.conf.default.disable_ipv6=1  # whose neighbour discovery would be counted
ip link add out type veth peer name gateway
ip address add 192.0.2.1/24 dev out
ip link set out up
ip link set gateway up
ip route add default via 192.0.2.2
"""
SERVE = """
import subprocess, sys, time, urllib.request
service = subprocess.Popen([sys.executable, "-m", "app"])
try:
    for _ in range(600):
        try:
            urllib.request.urlopen("http://127.0.0.1:8000/health/ready", timeout=5)
            break
        except OSError:
            assert service.poll() is None
            time.sleep(0.1)
    picture = open("tests/data/golden/7-photo.jpg", "rb").read()
    request = urllib.request.Request("http://127.0.0.1:8000/predict", picture, {"Content-Type": "image/jpeg"})
    print(urllib.request.urlopen(request, timeout=60).read().decode())
finally:
    service.terminate()
    print("status", service.wait(60))
"""
CALL = """
import socket
with socket.socket() as caller:
    caller.settimeout(2)
    try:
        caller.connect(("198.51.100.1", 80))
    except OSError as error:
        print(error)
"""
COUNT = """
print("sent", next(line.split()[9] for line in open("/proc/net/dev") if line.strip().startswith("out:")))
"""


def run_isolated(network: str, *programs: str) -> subprocess.CompletedProcess[str]:
    """Run programs one after another in a new network namespace."""
    shell = f"set -e\n{network}\n" + "".join(
        f'"{sys.executable}" -c "${n}"\n' for n in range(1, len(programs) + 1)
    )
    return subprocess.run(
        ["unshare", "--map-root-user", "--net", "sh", "-c", shell, "sh", *programs],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )


def require(network: str) -> None:
    """Skip the test if the network can't be created."""
    if not shutil.which("unshare") or not shutil.which("ip") or run_isolated(network).returncode:
        pytest.skip("this machine does not allow network namespaces, or lacks unshare or ip")


@pytest.mark.parametrize("network", ["ip link set lo up", NETWORK], ids=["no network", "a network"])
def test_the_service_starts_and_answers_and_sends_nothing(network: str) -> None:
    require(network)
    process = run_isolated(network, SERVE, *([COUNT] if network is NETWORK else []))
    assert '"digit":7' in process.stdout, process.stderr
    assert "status 0" in process.stdout
    assert "Traceback" not in process.stderr
    assert network is not NETWORK or "sent 0\n" in process.stdout


def test_an_outgoing_connection_is_counted() -> None:
    require(NETWORK)
    process = run_isolated(NETWORK, CALL, COUNT)
    assert "sent " in process.stdout, process.stderr
    assert "sent 0\n" not in process.stdout
