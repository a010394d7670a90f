"""Without a network the service starts and serves: it phones nobody."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT

INSIDE = """
import subprocess, sys, time, urllib.request
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
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


def test_it_starts_and_serves_in_a_network_without_routes() -> None:
    unshare = shutil.which("unshare")
    namespace = [unshare or "unshare", "--map-root-user", "--net"]
    if not unshare or not shutil.which("ip") or subprocess.run([*namespace, "true"], check=False).returncode:
        pytest.skip("this machine lets nobody make a network namespace, or has no ip")
    ran = subprocess.run(
        [*namespace, sys.executable, "-c", INSIDE], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert '"digit":7' in ran.stdout, ran.stderr
    assert "status 0" in ran.stdout
    assert "Traceback" not in ran.stderr
