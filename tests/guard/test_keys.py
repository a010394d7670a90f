"""Who is let in, over a real socket."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.guard import keys
from app.guard.rates import MAX_WRONG_KEYS
from app.settings import Settings
from tests.conftest import GOLDEN, ROOT
from tests.serving import PATIENCE, serve, start_process, wait_until

THREE = (GOLDEN / "3-canvas-black-on-white.png").read_bytes()
PNG = {"Content-Type": "image/png"}
KEY, LINE = keys.create_key("alice")
OTHER, OTHER_LINE = keys.create_key("bob")


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "keys.txt"
    file.write_text(f"# who may come in\n\n{LINE}  # since Monday\n{OTHER_LINE}\n")
    return file


@pytest.fixture(scope="module")
def locked(key_file: Path) -> Iterator[httpx.Client]:
    """A service that knows alice's and bob's keys."""
    with serve(Settings(api_keys_file=key_file, max_body_bytes=5_000)) as client:
        yield client


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": f"Bearer {KEY}"}, {"authorization": f"bearer  {KEY}"}, {"X-API-Key": OTHER}],
    ids=["bearer", "small letters and blanks", "own header"],
)
def test_a_key_lets_in(locked: httpx.Client, headers: dict[str, str]) -> None:
    assert locked.post("/predict", content=THREE, headers=PNG | headers).json()["digit"] == 3


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": KEY},
        {"X-API-Key": "alice"},
        {"X-API-Key": LINE.split()[1]},
        {"X-API-Key": ""},
        {"X-API-Key": "ümlaut"},
        {"Authorization": "Bearer " + "x" * 10_000},
        {},
    ],
)
@pytest.mark.parametrize("call", ["POST /predict", "POST /predict/number", "GET /models"])
def test_without_a_key_nothing_is_answered(locked: httpx.Client, call: str, headers: dict[str, str]) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    answer = locked.request(*call.split(), headers=raw)
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthorized"
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="digits"')
    assert KEY not in answer.text


def test_a_body_is_not_waited_for_without_a_key(locked: httpx.Client) -> None:
    url = locked.base_url
    with socket.create_connection((url.host, url.port or 80), timeout=PATIENCE) as raw:
        raw.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 4000000\r\n\r\n"
        )
        answer = b"".join(iter(lambda: raw.recv(4096), b""))  # until the service closes
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/docs", "/openapi.json"])
def test_health_and_documents_need_no_key(locked: httpx.Client, path: str) -> None:
    assert locked.get(path).status_code == 200


def test_documents_may_need_a_key(key_file: Path) -> None:
    with serve(Settings(api_keys_file=key_file, public_docs=False)) as client:
        assert client.get("/docs").status_code == 401
        assert client.get("/openapi.json").status_code == 401
        assert client.get("/health/ready").status_code == 200
        assert client.get("/openapi.json", headers={"X-API-Key": KEY}).status_code == 200


def test_what_does_not_exist_needs_no_key_to_be_told_so(locked: httpx.Client) -> None:
    assert locked.post("/nothing").status_code == 404
    assert locked.get("/predict").status_code == 405


def test_a_key_comes_before_the_length_of_the_body(locked: httpx.Client) -> None:
    assert locked.post("/predict", content=bytes(6_000), headers=PNG).status_code == 401
    headers = PNG | {"X-API-Key": KEY}
    assert locked.post("/predict", content=bytes(6_000), headers=headers).status_code == 413


def test_the_log_names_the_keys_id_and_never_the_key(key_file: Path) -> None:
    with start_process(api_keys_file=str(key_file), log_level="debug") as running:
        running.client.get("/models", headers={"X-API-Key": KEY})
        running.client.get("/models", headers={"Authorization": f"Bearer {OTHER}x"})
        running.popen.send_signal(signal.SIGTERM)
        _, log = running.end()
    assert '"key":"alice"' in log
    for secret in (KEY, OTHER, LINE.split()[1]):
        assert secret not in log


def test_keys_may_stand_in_the_environment() -> None:
    with serve(Settings(api_keys=("a plain key", OTHER_LINE, LINE.replace(" ", ":")))) as client:
        for key in ("a plain key", KEY, OTHER):
            assert client.get("/models", headers={"X-API-Key": key}).status_code == 200
        assert client.get("/models", headers={"X-API-Key": "a plain"}).status_code == 401


def test_the_command_makes_a_key_that_lets_in(tmp_path: Path) -> None:
    made = [sys.executable, "-m", "app", "keys", "new", "carol"]
    printed = subprocess.run(made, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    key, line = (
        re.search(pattern, printed, re.MULTILINE) for pattern in (r"^dig_\S{43}$", r"^carol [0-9a-f]{64}$")
    )
    assert key
    assert line
    (tmp_path / "keys").write_text(line[0])
    with serve(Settings(api_keys_file=tmp_path / "keys")) as client:
        assert client.get("/models", headers={"X-API-Key": key[0]}).status_code == 200


def test_no_two_keys_are_the_same() -> None:
    assert len({keys.create_key("x")[0] for _ in range(1000)}) == 1000


def test_a_bad_id_is_refused() -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "app", "keys", "new", "two words"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 2
    assert "'two words' is not a valid id" in refused.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it has no keys"),
        ("# nobody\n", "it has no keys"),
        (" \n\t\n", "it has no keys"),
        ("\ufeff", "it has no keys"),
        (f"{LINE}\nmy secret", "line 2 is not an id and a SHA-256"),
        (f"alice {KEY}", "line 1 is not an id and a SHA-256"),
        (f"{LINE}\n{LINE}", "an id occurs twice"),
    ],
    ids=[
        "empty",
        "comment",
        "blanks",
        "mark",
        "second line",
        "a key",
        "twice",
    ],  # keys are random, and tests have the same names in every process
)
def test_a_bad_file_of_keys_says_where_and_repeats_nothing(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    for plain in ((), ("a plain key of some length",)):
        with pytest.raises(keys.BadKeys, match=told) as caught:
            keys.Keyring(plain, file)
        assert KEY not in str(caught.value)
        assert "secret" not in str(caught.value)


DIGEST = LINE.split()[1]


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (f"alice:{DIGEST[:-1]}", "looks like ID:DIGEST, but a SHA-256 has 64"),
        (f"alice:{DIGEST}0", "looks like ID:DIGEST"),
        (f"alice {DIGEST[:40]}", "looks like ID:DIGEST"),
        (f"alice: {DIGEST[:-1]}g", "looks like ID:DIGEST"),
        (f"alice:{KEY}", "looks like ID:DIGEST"),
        ("ключ-из-букв-других-стран", "other than printable ASCII"),
        ("a key\x00with a control", "other than printable ASCII"),
    ],
    ids=["a digit less", "a digit more", "half", "a letter", "a key", "another script", "a control"],
)
def test_an_entry_that_is_slightly_wrong_does_not_become_a_key(entry: str, why: str) -> None:
    with pytest.raises(keys.BadKeys, match=f"key 2 .*{why}") as caught:
        keys.Keyring((LINE, entry), None)
    assert entry not in str(caught.value)
    assert DIGEST[:20] not in str(caught.value)


def test_a_digest_may_be_in_capitals_and_a_file_begin_with_a_mark(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"\ufeff{LINE.upper()}\r\n", "utf-8")
    for keyring in (keys.Keyring((), file), keys.Keyring((LINE.upper().replace(" ", ":"),), None)):
        key = keyring.find(KEY)
        assert key
        assert key.id == "ALICE"


@pytest.mark.parametrize("text", [None, "", " \n", "nonsense", b"\xff\xfe"])
def test_keys_that_cant_be_read_stop_the_start_with_one_line(
    tmp_path: Path, text: str | bytes | None
) -> None:
    file = tmp_path / "keys"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with start_process(api_keys_file=str(file)) as running:
        status, log = running.end()
    assert status == 2
    (line,) = log.splitlines()
    assert line.startswith(f"digits can't start: DIGITS_API_KEYS_FILE={file}: ")


def test_a_wrong_entry_of_the_environment_stops_the_start_with_one_line_that_does_not_show_it() -> None:
    with start_process(api_keys=f"{LINE},bob:{DIGEST[:-1]}") as running:
        status, log = running.end()
    assert status == 2
    (line,) = log.splitlines()
    assert line.startswith("digits can't start: DIGITS_API_KEYS=(not shown): key 2 looks like ID:DIGEST")
    assert DIGEST[:20] not in line


def test_a_new_key_lets_in_after_sighup_and_a_damaged_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(LINE)
    with start_process(api_keys_file=str(file)) as running:

        def status(key: str) -> int:
            return running.client.get("/models", headers={"X-API-Key": key}).status_code

        file.write_text(OTHER_LINE)
        running.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: status(OTHER) == 200)
        assert status(KEY) == 401
        file.write_text("nonsense")
        running.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: status(OTHER) == 200)
        running.popen.send_signal(signal.SIGTERM)
        _, log = running.end()
    assert "line 1 is not an id and a SHA-256" in log


def test_the_document_says_that_keys_are_asked_for(locked: httpx.Client) -> None:
    document = locked.get("/openapi.json").json()
    assert document["security"] == [{"bearer": []}, {"header": []}]
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}
    assert "401" in document["paths"]["/models"]["get"]["responses"]
    assert document["paths"]["/health/live"]["get"]["security"] == []


def statuses(client: httpx.Client, key: str, times: int) -> list[int]:
    return [client.get("/models", headers={"X-API-Key": key}).status_code for _ in range(times)]


@pytest.mark.parametrize("rate", [None, 5])
def test_wrong_keys_are_limited_and_the_right_one_lets_in_all_the_same(
    key_file: Path, rate: int | None
) -> None:
    limit = rate or MAX_WRONG_KEYS
    with serve(Settings(api_keys_file=key_file, rate_limit=rate)) as client:
        assert statuses(client, f"{KEY}x", limit) == [401] * limit
        refused = client.get("/models", headers={"Authorization": f"Bearer {OTHER}x"})
        assert refused.status_code == 429
        assert (refused.json()["code"], refused.json()["limit"]) == ("rate_limited", limit)
        assert f"At most {limit} wrong keys a minute" in refused.json()["detail"]
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert statuses(client, KEY, 1) == [200]  # others may share the address
        assert client.get("/models").status_code == 401  # nothing was tried
        assert client.get("/health/ready").status_code == 200


def test_wrong_keys_count_for_the_address_that_a_proxy_tells(key_file: Path) -> None:
    settings = Settings(api_keys_file=key_file, rate_limit=1, trusted_proxies=("127.0.0.1",))
    with serve(settings) as client:

        def status(address: str) -> int:
            headers = {"X-API-Key": f"{KEY}x", "X-Forwarded-For": address}
            return client.get("/models", headers=headers).status_code

        assert [status(address) for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1")] == [401, 401, 429]
