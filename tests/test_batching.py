"""Pictures that arrive together are classified together, and nobody notices."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
import uvicorn

from app.batching import MAX_BATCH, Batcher, Share
from app.digits.catalogue import Catalogue
from app.digits.classifier import Classifier, Scores
from app.digits.contract import CanonicalPicture, DigitBatch
from app.main import create_app
from app.server.process import Server
from app.server.protocol import create_protocol_factory
from app.settings import Settings
from tests.conftest import GOLDEN, MODELS

CANONICAL = sorted(GOLDEN.glob("*.canonical.png"))


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """The committed models."""
    return Catalogue.load(MODELS, default="cnn")


class Counter:
    """A classifier that counts the pictures of each batch."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self.runs: list[int] = []

    def classify(self, batch: DigitBatch) -> Scores:
        """Classify a batch."""
        self.runs.append(len(batch))
        return self._classifier.classify(batch)


def read_canonical(file: Path) -> CanonicalPicture:
    return np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), np.uint8)


def is_equal(share: Share, scores: Scores) -> bool:
    """Tell whether scores are the same but for the order in which floats are added up."""
    return np.allclose(share.scores.probabilities, scores.probabilities, atol=1e-5)


async def classify_all(
    batcher: Batcher, counters: Sequence[Counter], pictures: Sequence[CanonicalPicture]
) -> list[Share]:
    requests = map(batcher.classify, cast("Sequence[Classifier]", counters), pictures)
    return await asyncio.gather(*requests)


def test_pictures_of_one_turn_share_batches_and_each_gets_its_own_scores(catalogue: Catalogue) -> None:
    classifier, pictures = catalogue.get().classifier, [read_canonical(file) for file in CANONICAL[:20]]
    counter = Counter(classifier)
    shares = asyncio.run(classify_all(Batcher(), [counter] * 20, pictures))
    assert counter.runs == [MAX_BATCH, 20 - MAX_BATCH]
    for picture, share in zip(pictures, shares, strict=True):
        assert is_equal(share, classifier.classify(picture[np.newaxis]))
        assert share.seconds > 0


def test_each_network_gets_its_own_pictures(catalogue: Catalogue) -> None:
    picture = read_canonical(CANONICAL[0])
    cnn, linear = (catalogue.get(name).classifier for name in ("cnn", "linear"))
    counters = Counter(cnn), Counter(linear)
    order = [0, 1, 0, 1, 0]
    shares = asyncio.run(classify_all(Batcher(), [counters[index] for index in order], [picture] * 5))
    assert [counter.runs for counter in counters] == [[3], [2]]
    for index, share in zip(order, shares, strict=True):
        assert is_equal(share, (cnn, linear)[index].classify(picture[np.newaxis]))


def test_a_request_that_ends_early_costs_the_others_nothing(catalogue: Catalogue) -> None:
    counter, picture, batcher = Counter(catalogue.get().classifier), read_canonical(CANONICAL[0]), Batcher()

    async def cancel_one() -> list[Share | BaseException]:
        classifier = cast("Classifier", counter)
        tasks = [asyncio.create_task(batcher.classify(classifier, picture)) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, cancelled, last = asyncio.run(cancel_one())
    assert counter.runs == [2]
    assert isinstance(cancelled, asyncio.CancelledError)
    assert isinstance(first, Share)
    assert isinstance(last, Share)


def test_a_failure_of_the_network_is_reported_to_each_request(catalogue: Catalogue) -> None:
    classifier, batcher = catalogue.get().classifier, Batcher()
    unfit = np.zeros((27, 27), np.uint8)

    async def fail_both() -> list[Share | BaseException]:
        requests = [batcher.classify(classifier, unfit) for _ in range(2)]
        return await asyncio.gather(*requests, return_exceptions=True)

    for outcome in asyncio.run(fail_both()):
        assert "INVALID_ARGUMENT" in str(outcome)


@pytest.mark.parametrize(("count", "is_alone"), [(0, True), (1, True), (2, False)])
def test_a_request_is_alone_if_there_is_no_other(count: int, *, is_alone: bool) -> None:
    batcher = Batcher()
    assert batcher.is_alone  # if the server does not tell
    batcher.requests = range(count)
    assert batcher.is_alone is is_alone


HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: "


def test_requests_that_arrive_together_share_a_batch_and_get_their_own_answers() -> None:
    pictures = {file.name[:1].encode(): file.read_bytes() for file in CANONICAL if file.name[0].isdigit()}
    requests = [HEAD + b"%d\r\n\r\n" % len(each) + each for each in pictures.values()]
    alone, *together = asyncio.run(ask([requests[:1], requests]))
    for digit, answer in zip(pictures, *together, strict=True):
        assert b'{"digit":%b,' % digit in answer
    times = {re.search(rb"infer;dur=([0-9.]+)", answer)[1] for answer in together[0]}  # type: ignore[index]
    assert len(times) == 1  # each has an equal share of one batch
    assert len(alone) == 1


async def ask(rounds: Sequence[Sequence[bytes]]) -> list[list[bytes]]:
    """Send the requests of each round at once, from the event loop that serves them; return the answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        http = create_protocol_factory(Settings())
        config = uvicorn.Config(create_app(Settings()), log_config=None, http=http)  # type: ignore[arg-type]
        server = Server(config)
        serving = asyncio.create_task(server.serve([listening]))
        while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.01)
        answers = [await _ask_at_once(listening.getsockname(), requests) for requests in rounds]
        server.should_exit = True
        await serving
        return answers


async def _ask_at_once(address: tuple[str, int], requests: Sequence[bytes]) -> list[bytes]:
    connections = [await asyncio.open_connection(*address) for _ in requests]
    for request, (_, writer) in zip(requests, connections, strict=True):
        writer.write(request)
    answers = []
    for reader, writer in connections:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: ([0-9]+)", head)
        assert length
        answers.append(head + await reader.readexactly(int(length[1])))
        writer.close()
    return answers
