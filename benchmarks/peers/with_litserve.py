"""LitServe: an API with one worker process."""

import os

import litserve
from fastapi import UploadFile
from reading import read


class Reader(litserve.LitAPI):
    def setup(self, device):
        pass

    def decode_request(self, request: UploadFile):
        return request.file.read()

    def predict(self, picture):
        return read(picture)

    def encode_response(self, answer):
        return answer


if __name__ == "__main__":
    server = litserve.LitServer(Reader(), accelerator="cpu", workers_per_device=1)
    server.run(port=int(os.environ["PORT"]), host="127.0.0.1", num_api_servers=1, generate_client_file=False)
