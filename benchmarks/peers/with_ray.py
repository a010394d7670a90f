"""Ray Serve: one replica behind Ray's proxy."""

import os
import signal

import ray
from ray import serve
from reading import read
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=100)
class Reader:
    async def __call__(self, request: Request):
        return read(await request.body())


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])})
    serve.run(Reader.bind())
    signal.pause()
