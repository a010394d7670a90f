"""Start the service with a command, send it a picture, and stop it.

python .ci/serve.py make serve
python .ci/serve.py               works without make: installs and starts the service itself
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "tests" / "data" / "golden" / "7-photo.jpg"
READY = "digits is ready: http://localhost:8000"
PYTHON = ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def main() -> None:
    """Run the given command, or install and start the service; fail unless it reads a seven."""
    command = sys.argv[1:]
    if not command:
        installer = ROOT / "requirements" / "install.py"
        subprocess.run([sys.executable, installer, "service", PYTHON.parents[1]], check=True)
        command = [str(PYTHON), "-m", "app"]
    environment = {**os.environ, "DIGITS_LOG_FORMAT": "text"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as service:
        for line in service.stdout or ():
            print(line, end="", flush=True)
            if READY in line:
                break
        else:
            sys.exit("The service ended before it was ready")
        print(predict())
        service.terminate()


def predict() -> str:
    """Return the service's answer to a picture of a seven."""
    headers = {"Content-Type": "image/jpeg"}
    request = urllib.request.Request("http://localhost:8000/predict", PICTURE.read_bytes(), headers)
    with urllib.request.urlopen(request) as response:
        answer: str = response.read().decode()
    if json.loads(answer)["digit"] != 7:  # noqa: PLR2004  what the picture shows
        sys.exit(f"The service should have read a seven: {answer}")
    return answer


if __name__ == "__main__":
    main()
