"""A real nginx in front of the service, as people put it in front of services that may speak WebSocket."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from tests.needs import NGINX
from tests.serving import free_port, wait_until

CONFIGURATION: Final = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream digits {{
        server 127.0.0.1:{service};
        keepalive 1;  # everybody's requests come over one connection
    }}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 32m;
        location / {{
            proxy_pass http://digits;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }}
        location /metrics {{
            deny all;
        }}
        location /below/ {{
            proxy_pass http://digits/;
        }}
        location /kept/ {{
            proxy_pass http://digits;
        }}
    }}
}}
"""


@contextmanager
def run_nginx(service: int, folder: Path) -> Iterator[httpx.Client]:
    """Run nginx before the service on a port until the block ends; it keeps its files in a folder."""
    assert NGINX
    port = free_port()
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, service=service, port=port))
    running = subprocess.Popen([NGINX, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(file)])
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            wait_until(lambda: running.poll() is not None or _answers(client))
            assert running.poll() is None, (folder / "error.log").read_text()
            yield client
    finally:
        running.terminate()
        running.wait()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health/live").is_success
    except httpx.TransportError:
        return False
