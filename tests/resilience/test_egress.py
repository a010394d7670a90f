"""The service calls nobody: it serves without a network, and where there is one it sends nothing into it."""

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


def isolated(network: str, *programs: str) -> subprocess.CompletedProcess[str]:
    """Run programs one after another in a network namespace of their own."""
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
    """Skip the test where such a network can't be made."""
    if not shutil.which("unshare") or not shutil.which("ip") or isolated(network).returncode:
        pytest.skip("this machine lets nobody make such a network namespace, or has no unshare or ip")


@pytest.mark.parametrize("network", ["ip link set lo up", NETWORK], ids=["no network", "a network"])
def test_it_starts_and_serves_and_sends_nothing(network: str) -> None:
    require(network)
    ran = isolated(network, SERVE, *([COUNT] if network is NETWORK else []))
    assert '"digit":7' in ran.stdout, ran.stderr
    assert "status 0" in ran.stdout
    assert "Traceback" not in ran.stderr
    assert network is not NETWORK or "sent 0\n" in ran.stdout


def test_a_call_to_somebody_would_be_noticed() -> None:
    require(NETWORK)
    ran = isolated(NETWORK, CALL, COUNT)
    assert "sent " in ran.stdout, ran.stderr
    assert "sent 0\n" not in ran.stdout
