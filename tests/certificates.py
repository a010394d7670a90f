"""Certificates for tests of TLS, signed by themselves."""

from __future__ import annotations

import subprocess
from pathlib import Path


def create_certificate(folder: Path, host: str) -> None:
    """Write `fullchain.pem` and `privkey.pem`, as Let's Encrypt names them."""
    files = ["-keyout", "privkey.pem", "-out", "fullchain.pem", "-subj", f"/CN={host}"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *files]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
