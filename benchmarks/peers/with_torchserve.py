"""TorchServe: a handler that reads batches, packed and started as in its documentation.

python with_torchserve.py FOLDER PORT
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from reading import classify, decode

BATCH = 16
MAX_DELAY = 1  # ms for which a batch waits for more pictures


def handle(data, context):
    """Read a batch of pictures; TorchServe sends an empty one when the worker starts."""
    if not data:
        return None
    pictures = [bytes(row.get("body") or row.get("data")) for row in data]
    return classify(np.stack([decode(picture) for picture in pictures]))


def main():
    """Pack this file as a model, and serve it."""
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(parents=True)
    archiver = ["torch-model-archiver", "--model-name", "digits", "--version", "1.0", "--handler"]
    subprocess.run([*archiver, __file__, "--export-path", str(folder)], check=True)
    model = {"minWorkers": 1, "maxWorkers": 1, "batchSize": BATCH, "maxBatchDelay": MAX_DELAY}
    model |= {"marName": "digits.mar", "defaultVersion": True, "responseTimeout": 30}
    settings = {
        "inference_address": f"http://127.0.0.1:{port}",
        "management_address": f"http://127.0.0.1:{port + 1}",
        "metrics_address": f"http://127.0.0.1:{port + 2}",
        "model_store": folder,
        "load_models": "digits.mar",
        "models": json.dumps({"digits": {"1.0": model}}),
        "disable_system_metrics": "true",
    }
    config = folder / "config.properties"
    config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    command = ["torchserve", "--start", "--foreground", "--disable-token-auth", "--ts-config", str(config)]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
