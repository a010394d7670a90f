"""BentoML: a service of one worker; `bentoml serve` starts it."""

from pathlib import Path

import bentoml
from reading import read


@bentoml.service(workers=1)
class Reader:
    @bentoml.api
    def form(self, file: Path) -> dict:
        return read(file.read_bytes())
