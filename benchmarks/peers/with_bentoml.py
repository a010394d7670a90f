"""BentoML: a service with one worker, started by `bentoml serve`."""

from pathlib import Path

import bentoml
from reading import read


@bentoml.service(workers=1)
class Reader:
    @bentoml.api
    def form(self, file: Path) -> dict:
        return read(file.read_bytes())
