"""What Hugging Face's client makes of the service: `test_hugging_face.py` runs it where it is installed.

.venv-clients/bin/python tests/api/hugging_face_client.py ADDRESS KEY PICTURE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

ADDRESS, KEY, FILE = sys.argv[1:]


def read(image: str | bytes | Path, key: str = KEY, **options: object) -> list[tuple[str, float]] | str:
    client = InferenceClient(model=f"{ADDRESS}/predict?format=hf", token=key)
    try:
        return [(one.label, one.score) for one in client.image_classification(image, **options)]
    except HfHubHTTPError as error:
        return str(error)


ANSWERS = {
    "path": read(Path(FILE)),
    "name": read(FILE),
    "bytes": read(Path(FILE).read_bytes()),
    "two": read(FILE, top_k=2),
    "no picture": read(b"no picture"),
    "sigmoid": read(FILE, function_to_apply="sigmoid"),
    "wrong key": read(FILE, key="a-wrong-key"),
}
json.dump(ANSWERS, sys.stdout)
