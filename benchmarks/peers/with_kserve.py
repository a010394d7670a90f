"""KServe's Python server: a custom model, version 1 of its protocol."""

import base64
import os

import kserve
from reading import read


class Reader(kserve.Model):
    def __init__(self):
        super().__init__("digits")
        self.ready = True

    def predict(self, payload, headers=None):
        return {"predictions": [read(base64.b64decode(instance["b64"])) for instance in payload["instances"]]}


if __name__ == "__main__":
    kserve.ModelServer(http_port=int(os.environ["PORT"]), workers=1, enable_grpc=False).start([Reader()])
