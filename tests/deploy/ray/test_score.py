"""`python -m deploy.ray.score` as people run it, on real Ray, in Ray's environment."""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import GOLDEN, HOSTILE, ROOT, golden_uploads
from tests.deploy.ray.bucket import Bucket
from tests.needs import RAY
from tests.serving import run_handler, wait_until

PARQUET = Path(__file__).with_name("parquet.py")
NINE = GOLDEN / "9-one-bit.png"
PHOTO = GOLDEN / "7-photo.jpg"  # takes long enough that a run can be ended within
PATIENCE = 180.0  # seconds: for Ray's start on a machine that is busy
CLUSTER = """
import ray, sys
context = ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=2**27)
print(context.address_info["address"], flush=True)
sys.stdin.read()
"""
Rows = list[dict[str, Any]]

pytestmark = pytest.mark.needs("ray")


@pytest.fixture(scope="module")
def temporary() -> Iterator[Path]:
    """A folder whose path is short enough for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def cluster(temporary: Path) -> Iterator[Mapping[str, str]]:
    """The environment that names an existing cluster, which was started without this project."""
    elsewhere = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    keys = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "of a bucket"}
    running = subprocess.Popen(
        [RAY, "-c", CLUSTER],
        cwd=temporary,
        env={**elsewhere, **token, **keys, "RAY_TMPDIR": str(temporary), "RAY_USAGE_STATS_ENABLED": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with running:
        assert running.stdout
        address = next(line for line in running.stdout if line[0].isdecimal()).strip()
        yield {"RAY_ADDRESS": address, **token, **keys}
        running.communicate()


def start(*words: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(RAY), "-m", "deploy.ray.score", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def score(*words: object, **environment: str) -> tuple[int, str]:
    """Run the command to its end; return its exit status and its messages."""
    with start(*words, **environment) as process:
        _, output = process.communicate(timeout=PATIENCE)
    return process.returncode, output


def parquet(*words: object) -> str:
    command = [str(RAY), str(PARQUET), *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def read_rows(out: Path) -> Rows:
    rows: Rows = json.loads(parquet("rows", out))
    return rows


def read_by_path(out: Path) -> dict[str, dict[str, Any]]:
    rows = read_rows(out)
    rows_by_path = {row["path"]: row for row in rows}
    assert len(rows_by_path) == len(rows), "a picture has two rows"
    return rows_by_path


def make_copies(folder: Path, picture: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:05}{picture.suffix}").hardlink_to(picture)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all sorts of pictures, good and hostile."""
    folder = tmp_path_factory.mktemp("pictures")
    shutil.copytree(HOSTILE, folder / "hostile", ignore=shutil.ignore_patterns("*.json", "*.html"))
    (folder / "golden").mkdir()
    for file in golden_uploads():
        shutil.copy(file, folder / "golden")
    (folder / "empty.png").touch()
    shutil.copy(NINE, folder / ".hidden.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / "gone.png").symlink_to("nowhere")
    (folder / "above").symlink_to("..")
    shutil.copy(NINE, os.fsdecode(os.fsencode(folder) + b"/bytes-\xff.PNG"))
    return folder


@pytest.fixture(scope="module")
def scored(
    pictures: Path, cluster: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The results for that folder, and the messages of the run."""
    out = tmp_path_factory.mktemp("results") / "new"
    status, output = score(pictures, f"file://{out}", "--shard", 50, "--probabilities", **cluster)
    assert status == 1, output
    return out, output


def test_every_picture_has_the_answer_of_the_service(
    pictures: Path, scored: tuple[Path, str], client: httpx.Client
) -> None:
    rows = read_by_path(scored[0])
    files = [file for file in pictures.rglob("*.*") if file.is_file() and not file.name.startswith(".")]
    sources = {
        os.fsencode(file.relative_to(pictures)).decode(errors="backslashreplace"): file for file in files
    }
    del sources["notes.txt"]
    assert set(rows) == {*sources, "gone.png"}
    for path, file in sources.items():
        answer = client.post("/predict", content=file.read_bytes(), headers={"Content-Type": "image/png"})
        row, document = rows[path], answer.json()
        if answer.is_error and file.stat().st_size:  # HTTP has another code for an empty body
            assert (row["error_code"], row["error"]) == (document["code"], document["detail"]), path
        if answer.is_error:
            assert all(row[name] is None for name in row if not name.startswith(("path", "error"))), path
            continue
        assert row["error_code"] is row["error"] is None, path
        assert [row[name] for name in ("digit", "is_digit", "warnings")] == [
            document[name] for name in ("digit", "is_digit", "warnings")
        ], path
        for name in ("confidence", "digit_likelihood", "probabilities"):
            assert row[name] == pytest.approx(document[name], abs=1e-5), path


def test_a_missing_or_empty_file_has_a_row_with_an_error(scored: tuple[Path, str]) -> None:
    rows = read_by_path(scored[0])
    assert rows["gone.png"]["error"] == "The file can't be read: No such file or directory."
    assert rows["gone.png"]["error_code"] == "unreadable_file"
    assert rows["empty.png"]["error_code"] == "unreadable_image"
    assert rows[r"bytes-\xff.PNG"]["digit"] == 9


def test_errors_are_counted_by_their_codes(scored: tuple[Path, str]) -> None:
    failed = [row["error_code"] for row in read_rows(scored[0]) if row["error_code"]]
    assert f"{len(failed)} with an error" in scored[1]
    assert f"\nunreadable_image: {failed.count('unreadable_image')}\n" in scored[1]


def test_parquet_files_give_the_same_rows_as_their_pictures_and_a_damaged_one_its_error(
    pictures: Path, scored: tuple[Path, str], cluster: Mapping[str, str], tmp_path: Path
) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    parquet("pack", pictures / "hostile", source / "hostile.parquet")
    parquet("pack", pictures / "golden", source / "broken.parquet")
    broken = bytearray((source / "broken.parquet").read_bytes())
    broken[20:60] = bytes(40)  # the pages of its first group of rows, not its footer
    (source / "broken.parquet").write_bytes(broken)
    (source / "cut.parquet").write_bytes(broken[:100])
    columns = ("--bytes", "image.bytes", "--id", "called", "--probabilities")
    status, output = score(source, out, *columns, "--shard", 60, **cluster)
    assert status == 1, output
    rows = read_by_path(out)

    errors = {path: row["error_code"] for path, row in rows.items() if "parquet" in path}
    count = len(list((pictures / "golden").iterdir())) + 1  # the last row has no picture
    assert errors == {
        "cut.parquet": "unreadable_file",
        **{f"broken.parquet#{number}": "unreadable_file" for number in range(count)},
        f"hostile.parquet#{len(list((pictures / 'hostile').iterdir()))}": "unreadable_image",
    }
    from_files = read_by_path(scored[0])
    for name in rows.keys() - errors.keys():
        assert rows[name] == {**from_files[f"hostile/{name}"], "path": name}
    # cut.parquet is one shard; of the others, two groups of 50 rows make one, because it has 60 at least
    packed = [len(list((pictures / folder).iterdir())) + 1 for folder in ("golden", "hostile")]
    assert len(files(out)) == 1 + sum(math.ceil(rows / 100) for rows in packed)


def test_a_bucket_is_read_and_written(cluster: Mapping[str, str], tmp_path: Path) -> None:
    Bucket.objects = {
        f"in/{file.name[0]} & more/{file.name}": file.read_bytes() for file in golden_uploads()[:9]
    }
    Bucket.objects |= {"in/empty.png": b"", "in/notes.txt": b"", "other/4.png": NINE.read_bytes()}
    with run_handler(Bucket) as address:
        options = f"?endpoint_override={address.removeprefix('http://')}&scheme=http&region=us-east-1"
        locations = [f"s3://bucket/{name}{options}" for name in ("in", "out")]
        status, output = score(*locations, "--shard", 6, **cluster)
    assert status == 1, output
    results = {
        key.removeprefix("out/"): data for key, data in Bucket.objects.items() if key.startswith("out/")
    }
    assert results.keys() >= {"", "_run.json"}
    for name in results.keys() - {""}:
        (tmp_path / name).write_bytes(results[name])
    assert {path: row["digit"] for path, row in read_by_path(tmp_path).items()} == {
        "empty.png": None,
        **{f"{file.name[0]} & more/{file.name}": int(file.name[0]) for file in golden_uploads()[:9]},
    }


@pytest.fixture(scope="module")
def finished(
    cluster: Mapping[str, str], temporary: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A folder, and its results from runs that were interrupted, lost a process and were killed."""
    source = make_copies(tmp_path_factory.mktemp("photos") / "source", PHOTO, 1500)
    out = tmp_path_factory.mktemp("out")
    command = (source, out, "--shard", 100, "--cores", 1)

    with start(*command, **cluster) as process:
        wait_until(lambda: len(files(out)) >= 2, seconds=PATIENCE)
        process.send_signal(signal.SIGINT)
        _, output = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert output.splitlines()[-1] == "Interrupted. Run the same command again to continue."
    interrupted = files(out)

    with start(*command, RAY_TMPDIR=str(temporary / "own")) as process:
        wait_until(lambda: len(files(out)) > len(interrupted), seconds=PATIENCE)
        wait_until(lambda: kill(scorers(process.pid)) > 0, seconds=PATIENCE)
        before = len(files(out))
        wait_until(lambda: len(files(out)) >= before + 2, seconds=PATIENCE)  # Ray has started another scorer
        assert kill([process.pid, *descendants(process.pid)])
    killed = files(out)
    assert len(interrupted) < len(killed) < 15

    cut = out / min(killed)  # as a machine that loses its power may leave it
    cut.write_bytes(cut.read_bytes()[:-10])
    complete = {name: version for name, version in killed.items() if name != cut.name}
    status, output = score(*command, **cluster)
    assert status == 0, output
    assert f"1,500 pictures, {100 * len(complete):,} of them in earlier runs, 0 with an error" in output
    assert complete.items() <= files(out).items()
    return source, out


def test_a_run_is_continued_until_every_picture_has_one_row(finished: tuple[Path, Path]) -> None:
    source, out = finished
    assert set(read_by_path(out)) == {file.name for file in source.iterdir()}
    assert {file.name for file in out.iterdir()} == {*files(out), "_run.json"}


def test_a_run_is_not_continued_with_other_options(finished: tuple[Path, Path]) -> None:
    source, out = finished
    for changed, setting in (
        (("--shard", "5"), '"shard": 100'),
        (("--shard", "100", "--model", "linear"), '"model": "cnn '),
    ):
        status, output = score(source, out, *changed)
        assert status == 2
        assert output.startswith(f"{out} was started with {setting}")


def test_a_run_is_not_continued_if_the_source_has_changed(
    finished: tuple[Path, Path], cluster: Mapping[str, str]
) -> None:
    source, out = finished
    before = files(out)
    for number in range(1400, 1500):
        (source / f"{number:05}.jpg").unlink()
    status, output = score(source, out, "--shard", 100, **cluster)
    assert status == 2, output
    assert "was made from other pictures: the source has changed since" in output
    (source / "00000.jpg").unlink()
    status, output = score(source, out, "--shard", 100, **cluster)
    assert status == 2, output
    assert "was made from other pictures: the source has changed since" in output
    assert files(out) == before


def files(out: Path) -> dict[str, tuple[int, int]]:
    """Return each result file with a version that changes when it is written again."""
    return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in out.glob("*.parquet")}


def kill(processes: Iterable[int]) -> int:
    """Kill processes; return how many there were."""
    killed = 0
    for process in processes:
        with suppress(ProcessLookupError):  # Ray's processes end with the first one
            os.kill(process, signal.SIGKILL)
            killed += 1
    return killed


def scorers(pid: int) -> list[int]:
    """Return the processes below a process that are scoring a shard now."""
    return [each for each in descendants(pid) if command(each).startswith(b"ray::score")]


def command(pid: int) -> bytes:
    with suppress(OSError):  # it has ended meanwhile
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have."""
    children: list[int] = []
    with suppress(OSError):  # it has ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (task / "children").read_text().split())
    return [each for child in children for each in (child, *descendants(child))]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folders")
    (folder / "empty").mkdir()
    make_copies(folder / "source", NINE, 1)
    make_copies(folder / "full", NINE, 1)
    parquet("pack", folder / "source", folder / "packed.parquet")
    return folder


@pytest.mark.parametrize(
    ("words", "environment", "message"),
    [
        (["{tmp}/nowhere", "{tmp}/out"], {}, "No such file or directory: '{tmp}/nowhere'"),
        (["{tmp}/empty", "{tmp}/out"], {}, "{tmp}/empty holds no pictures: no name ends with .avif, .bmp,"),
        (["{tmp}/source", "{tmp}/source/out"], {}, "{tmp}/source/out is in {tmp}/source: results would"),
        (
            ["{tmp}/source", "{tmp}/full"],
            {},
            "{tmp}/full holds files that are not results. Choose a new folder.",
        ),
        (["{tmp}/source", "/proc/out"], {}, "No such file or directory: '/proc/out'"),
        (["ftp://host/source", "{tmp}/out"], {}, "Unrecognized filesystem type in URI: ftp://host/source"),
        (["{tmp}/source", "{tmp}/out", "--model", "vgg"], {}, "the default model 'vgg' is not in "),
        (["{tmp}/source", "{tmp}/out", "--shard", "0"], {}, "'0' is not a number from 1 to 100000"),
        (
            ["{tmp}/packed.parquet", "{tmp}/out"],
            {},
            "packed.parquet has no column 'bytes'; its columns are image.bytes, image.width, called.",
        ),
        (["{tmp}/source", "{tmp}/out"], {"DIGITS_MAX_PIXELS": "many"}, "DIGITS_MAX_PIXELS=many"),
        (["{tmp}/source", "{tmp}/out"], {"RAY_ADDRESS": "nonsense"}, "RAY_ADDRESS=nonsense can't be used"),
    ],
)
def test_a_run_that_cannot_start_says_why_in_one_line(
    words: list[str], environment: dict[str, str], message: str, folders: Path
) -> None:
    status, output = score(*(word.format(tmp=folders) for word in words), **environment)
    assert status == 2
    assert message.format(tmp=folders) in output.splitlines()[-1]
    assert "Traceback" not in output
