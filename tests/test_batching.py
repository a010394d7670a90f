"""Pictures that arrive together are classified together, and nobody notices."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.batching import MAX_BATCH, Batcher, Share
from app.digits.catalogue import Catalogue
from app.digits.classifier import Classifier, Scores
from app.digits.contract import CanonicalPicture, DigitBatch
from app.settings import Settings
from tests.conftest import GOLDEN, MODELS
from tests.serving import PATIENCE, serve

CANONICAL = sorted(GOLDEN.glob("*.canonical.png"))


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """The committed models."""
    return Catalogue.load(MODELS, default="cnn")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that networks have read since the test began."""
    sizes: list[int] = []
    classify = Classifier.classify

    def count_and_classify(self: Classifier, batch: DigitBatch) -> Scores:
        sizes.append(len(batch))
        return classify(self, batch)

    monkeypatch.setattr(Classifier, "classify", count_and_classify)
    return sizes


def read_canonical(file: Path) -> CanonicalPicture:
    return np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), np.uint8)


def is_equal(share: Share, scores: Scores) -> bool:
    """Tell whether scores are the same but for the order in which floats are added up."""
    return np.allclose(share.scores.probabilities, scores.probabilities, atol=1e-5)


async def classify_all(
    batcher: Batcher, classifiers: list[Classifier], pictures: list[CanonicalPicture]
) -> list[Share]:
    requests = map(batcher.classify, classifiers, pictures)
    return await asyncio.gather(*requests)


def test_pictures_of_one_turn_share_batches_and_each_gets_its_own_scores(
    catalogue: Catalogue, runs: list[int]
) -> None:
    classifier, pictures = catalogue.get().classifier, [read_canonical(file) for file in CANONICAL[:20]]
    shares = asyncio.run(classify_all(Batcher(), [classifier] * 20, pictures))
    assert runs == [MAX_BATCH, 20 - MAX_BATCH]
    for picture, share in zip(pictures, shares, strict=True):
        assert is_equal(share, classifier.classify(picture[np.newaxis]))
        assert share.seconds > 0


def test_each_network_gets_its_own_pictures(catalogue: Catalogue, runs: list[int]) -> None:
    picture = read_canonical(CANONICAL[0])
    classifiers = [catalogue.get(name).classifier for name in ("cnn", "linear", "cnn", "linear", "cnn")]
    shares = asyncio.run(classify_all(Batcher(), classifiers, [picture] * 5))
    assert sorted(runs) == [2, 3]
    for classifier, share in zip(classifiers, shares, strict=True):
        assert is_equal(share, classifier.classify(picture[np.newaxis]))


def test_a_request_that_ends_early_costs_the_others_nothing(catalogue: Catalogue, runs: list[int]) -> None:
    classifier, picture, batcher = catalogue.get().classifier, read_canonical(CANONICAL[0]), Batcher()

    async def cancel_one() -> list[Share | BaseException]:
        tasks = [asyncio.create_task(batcher.classify(classifier, picture)) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, cancelled, last = asyncio.run(cancel_one())
    assert runs == [2]
    assert isinstance(cancelled, asyncio.CancelledError)
    assert isinstance(first, Share)
    assert isinstance(last, Share)


def test_a_failure_of_the_network_is_reported_to_each_request(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Scores:
        raise MemoryError

    monkeypatch.setattr(Classifier, "classify", fail)
    classifier, picture, batcher = catalogue.get().classifier, read_canonical(CANONICAL[0]), Batcher()

    async def fail_both() -> list[Share | BaseException]:
        requests = [batcher.classify(classifier, picture) for _ in range(2)]
        return await asyncio.gather(*requests, return_exceptions=True)

    assert [type(outcome) for outcome in asyncio.run(fail_both())] == [MemoryError, MemoryError]


HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: "


@pytest.fixture
def requests() -> dict[bytes, bytes]:
    """Requests with different pictures, by their digits."""
    pictures = {file.name[:1].encode(): file.read_bytes() for file in CANONICAL if file.name[0].isdigit()}
    return {digit: HEAD + b"%d\r\n\r\n" % len(each) + each for digit, each in pictures.items()}


def test_requests_that_arrive_together_get_their_own_answers(
    requests: dict[bytes, bytes], runs: list[int]
) -> None:
    with serve(Settings()) as client, ExitStack() as stack:
        address = client.base_url.host, client.base_url.port or 0
        connections = [
            (digit, stack.enter_context(socket.create_connection(address, PATIENCE)))
            for digit in [*requests] * 6
        ]
        runs.clear()
        for _ in range(5):
            for digit, connection in connections:
                connection.sendall(requests[digit])
            for digit, connection in connections:
                answer = b""
                while not answer.endswith(b"}"):
                    answer += connection.recv(65_536)
                assert b'{"digit":%b,' % digit in answer
    assert sum(runs) == 5 * len(connections)


@pytest.mark.parametrize(("count", "is_alone"), [(0, True), (1, True), (2, False)])
def test_a_request_is_alone_if_there_is_no_other(count: int, *, is_alone: bool) -> None:
    batcher = Batcher()
    assert batcher.is_alone  # if the server does not tell
    batcher.requests = range(count)
    assert batcher.is_alone is is_alone


def test_a_request_that_is_alone_does_not_wait(requests: dict[bytes, bytes], runs: list[int]) -> None:
    with serve(Settings()) as client:
        runs.clear()
        for request in requests.values():
            body = request.partition(b"\r\n\r\n")[2]
            client.post("/predict", content=body, headers={"Content-Type": "image/png"})
    assert runs == [1] * len(requests)
