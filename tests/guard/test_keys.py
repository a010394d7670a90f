"""Authentication with API keys, over a real socket."""

from __future__ import annotations

import base64
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


def encode_basic(credentials: str) -> str:
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "keys.txt"
    file.write_text(f"# keys of our clients\n\n{LINE}  # since Monday\n{OTHER_LINE}\n")
    return file


@pytest.fixture(scope="module")
def locked(key_file: Path) -> Iterator[httpx.Client]:
    """A service that accepts the keys of alice and bob."""
    with serve(Settings(api_keys_file=key_file, max_body_bytes=5_000)) as client:
        yield client


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY}"},
        {"X-API-Key": OTHER},
        {"Authorization": encode_basic(f"anybody:{KEY}")},
        {"Authorization": encode_basic("of:a-proxy"), "X-API-Key": OTHER},
    ],
    ids=["bearer", "lower case and blanks", "X-API-Key", "password", "a proxy's password"],
)
def test_a_valid_key_is_accepted(locked: httpx.Client, headers: dict[str, str]) -> None:
    assert locked.post("/predict", content=THREE, headers=PNG | headers).json()["digit"] == 3


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": encode_basic(KEY)},
        {"Authorization": encode_basic(f"{KEY}:")},
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
def test_requests_without_a_valid_key_get_401(
    locked: httpx.Client, call: str, headers: dict[str, str]
) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    answer = locked.request(*call.split(), headers=raw)
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthorized"
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="digits"')
    assert KEY not in answer.text


def test_without_a_key_the_body_is_not_read(locked: httpx.Client) -> None:
    url = locked.base_url
    with socket.create_connection((url.host, url.port or 80), timeout=PATIENCE) as raw:
        raw.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 4000000\r\n\r\n"
        )
        answer = b"".join(iter(lambda: raw.recv(4096), b""))  # until the service closes
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/docs", "/openapi.json"])
def test_health_and_documentation_need_no_key(locked: httpx.Client, path: str) -> None:
    assert locked.get(path).status_code == 200


def test_documentation_needs_a_key_if_it_is_not_public(key_file: Path) -> None:
    with serve(Settings(api_keys_file=key_file, public_docs=False)) as client:
        assert client.get("/docs").status_code == 401
        assert client.get("/openapi.json").status_code == 401
        assert client.get("/health/ready").status_code == 200
        assert client.get("/openapi.json", headers={"X-API-Key": KEY}).status_code == 200


def test_unknown_paths_and_methods_are_refused_without_asking_for_a_key(locked: httpx.Client) -> None:
    assert locked.post("/nothing").status_code == 404
    assert locked.get("/predict").status_code == 405


def test_the_key_is_checked_before_the_length_of_the_body(locked: httpx.Client) -> None:
    assert locked.post("/predict", content=bytes(6_000), headers=PNG).status_code == 401
    headers = PNG | {"X-API-Key": KEY}
    assert locked.post("/predict", content=bytes(6_000), headers=headers).status_code == 413


def test_the_log_contains_the_id_of_a_key_and_never_the_key(key_file: Path) -> None:
    with start_process(api_keys_file=str(key_file), log_level="debug") as running:
        running.client.get("/models", headers={"X-API-Key": KEY})
        running.client.get("/models", headers={"Authorization": f"Bearer {OTHER}x"})
        running.popen.send_signal(signal.SIGTERM)
        _, log = running.end()
    assert '"key":"alice"' in log
    for secret in (KEY, OTHER, LINE.split()[1]):
        assert secret not in log


def test_keys_can_be_set_in_the_environment() -> None:
    with serve(Settings(api_keys=("a plain key", OTHER_LINE, LINE.replace(" ", ":")))) as client:
        for key in ("a plain key", KEY, OTHER):
            assert client.get("/models", headers={"X-API-Key": key}).status_code == 200
        assert client.get("/models", headers={"X-API-Key": "a plain"}).status_code == 401


def test_the_command_creates_a_key_that_is_accepted(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "app", "keys", "new", "carol"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    key, line = (
        re.search(pattern, printed, re.MULTILINE) for pattern in (r"^dig_\S{43}$", r"^carol [0-9a-f]{64}$")
    )
    assert key
    assert line
    (tmp_path / "keys").write_text(line[0])
    with serve(Settings(api_keys_file=tmp_path / "keys")) as client:
        assert client.get("/models", headers={"X-API-Key": key[0]}).status_code == 200


def test_keys_are_unique() -> None:
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
    ("text", "message"),
    [
        ("", "the file has no keys"),
        ("# nobody\n", "the file has no keys"),
        (" \n\t\n", "the file has no keys"),
        ("\ufeff", "the file has no keys"),
        (f"{LINE}\nmy secret", "line 2 does not consist of an id and a SHA-256"),
        (f"alice {KEY}", "line 1 does not consist of an id and a SHA-256"),
        (f"{LINE}\n{LINE}", "the id 'alice' occurs more than once"),
    ],
    ids=[
        "empty",
        "comment",
        "blanks",
        "byte order mark",
        "second line",
        "a key",
        "twice",
    ],  # keys are random, but test ids must be the same in every process
)
def test_the_message_about_an_invalid_file_names_the_line_and_quotes_nothing(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    for plain in ((), ("a plain key of some length",)):
        with pytest.raises(keys.InvalidKeys, match=message) as caught:
            keys.Keyring(plain, file)
        assert KEY not in str(caught.value)
        assert "secret" not in str(caught.value)


DIGEST = LINE.split()[1]


@pytest.mark.parametrize(
    ("entry", "message"),
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
def test_a_mistyped_entry_is_not_taken_for_a_plain_key(entry: str, message: str) -> None:
    with pytest.raises(keys.InvalidKeys, match=f"key 2 .*{message}") as caught:
        keys.Keyring((LINE, entry), None)
    assert entry not in str(caught.value)
    assert DIGEST[:20] not in str(caught.value)


def test_upper_case_digests_and_a_byte_order_mark_are_accepted(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"\ufeff{LINE.upper()}\r\n", "utf-8")
    for keyring in (keys.Keyring((), file), keys.Keyring((LINE.upper().replace(" ", ":"),), None)):
        key = keyring.find(KEY)
        assert key
        assert key.id == "ALICE"


@pytest.mark.parametrize("text", [None, "", " \n", "nonsense", b"\xff\xfe"])
def test_a_service_whose_keys_cant_be_read_exits_with_one_line(
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


def test_a_service_with_an_invalid_entry_exits_with_one_line_that_does_not_show_it() -> None:
    with start_process(api_keys=f"{LINE},bob:{DIGEST[:-1]}") as running:
        status, log = running.end()
    assert status == 2
    (line,) = log.splitlines()
    assert line.startswith("digits can't start: DIGITS_API_KEYS=(not shown): key 2 looks like ID:DIGEST")
    assert DIGEST[:20] not in line


def test_sighup_loads_a_new_key_and_ignores_an_invalid_file(tmp_path: Path) -> None:
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
    assert "line 1 does not consist of an id and a SHA-256" in log


def test_the_openapi_document_declares_the_keys(locked: httpx.Client) -> None:
    document = locked.get("/openapi.json").json()
    assert document["security"] == [{"bearer": []}, {"header": []}]
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}
    assert "401" in document["paths"]["/models"]["get"]["responses"]
    assert document["paths"]["/health/live"]["get"]["security"] == []


def statuses(client: httpx.Client, key: str, times: int) -> list[int]:
    return [client.get("/models", headers={"X-API-Key": key}).status_code for _ in range(times)]


@pytest.mark.parametrize("rate", [None, 5])
def test_wrong_keys_are_limited_and_a_valid_one_is_still_accepted(key_file: Path, rate: int | None) -> None:
    limit = rate or MAX_WRONG_KEYS
    with serve(Settings(api_keys_file=key_file, rate_limit=rate)) as client:
        assert statuses(client, f"{KEY}x", limit) == [401] * limit
        # on a busy machine, the bucket has regained tokens meanwhile
        for _ in range(10 * limit):
            refused = client.get("/models", headers={"Authorization": f"Bearer {OTHER}x"})
            if refused.status_code != 401:
                break
        assert refused.status_code == 429
        assert (refused.json()["code"], refused.json()["limit"]) == ("rate_limited", limit)
        assert f"Wrong keys are limited to {limit} a minute" in refused.json()["detail"]
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert statuses(client, KEY, 1) == [200]  # others may share the address
        assert client.get("/models").status_code == 401  # no key, so nothing was tried
        assert client.get("/health/ready").status_code == 200


def test_wrong_keys_count_for_the_address_that_a_proxy_reports(key_file: Path) -> None:
    settings = Settings(api_keys_file=key_file, rate_limit=1, trusted_proxies=("127.0.0.1",))
    with serve(settings) as client:

        def status(address: str) -> int:
            headers = {"X-API-Key": f"{KEY}x", "X-Forwarded-For": address}
            return client.get("/models", headers=headers).status_code

        assert [status(address) for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1")] == [401, 401, 429]
