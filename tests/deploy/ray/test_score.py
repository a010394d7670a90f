"""`python -m deploy.ray.score` as people run it, on real Ray, in Ray's environment."""

from __future__ import annotations

import json
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
    """A folder whose name is so short that Ray can name its sockets in it."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def cluster(temporary: Path) -> Iterator[Mapping[str, str]]:
    """The environment that leads to a Ray which runs already, and knows nothing of this project."""
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


def started(*words: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(RAY), "-m", "deploy.ray.score", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def score(*words: object, **environment: str) -> tuple[int, str]:
    """Run it to its end; return its exit status and what it says."""
    with started(*words, **environment) as running:
        _, told = running.communicate(timeout=PATIENCE)
    return running.returncode, told


def parquet(*words: object) -> str:
    done = subprocess.run([RAY, PARQUET, *map(str, words)], check=True, capture_output=True, text=True)
    return done.stdout


def rows(out: Path) -> Rows:
    found: Rows = json.loads(parquet("rows", out))
    return found


def by_path(out: Path) -> dict[str, dict[str, Any]]:
    found = rows(out)
    paths = {row["path"]: row for row in found}
    assert len(paths) == len(found), "a picture has two rows"
    return paths


def copies(folder: Path, picture: Path, count: int) -> Path:
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
    """The results for that folder, and what the run said."""
    out = tmp_path_factory.mktemp("results") / "new"
    status, told = score(pictures, f"file://{out}", "--shard", 50, "--probabilities", **cluster)
    assert status == 1, told
    return out, told


def test_every_picture_has_the_answer_of_the_service(
    pictures: Path, scored: tuple[Path, str], client: httpx.Client
) -> None:
    found = by_path(scored[0])
    files = [file for file in pictures.rglob("*.*") if file.is_file() and not file.name.startswith(".")]
    asked = {
        os.fsencode(file.relative_to(pictures)).decode(errors="backslashreplace"): file for file in files
    }
    del asked["notes.txt"]
    assert set(found) == {*asked, "gone.png"}
    for path, file in asked.items():
        answer = client.post("/predict", content=file.read_bytes(), headers={"Content-Type": "image/png"})
        row, told = found[path], answer.json()
        if answer.is_error and file.stat().st_size:  # HTTP has a code of its own for no bytes
            assert (row["error_code"], row["error"]) == (told["code"], told["detail"]), path
        if answer.is_error:
            assert all(row[name] is None for name in row if not name.startswith(("path", "error"))), path
            continue
        assert row["error_code"] is row["error"] is None, path
        assert [row[name] for name in ("digit", "is_digit", "warnings")] == [
            told[name] for name in ("digit", "is_digit", "warnings")
        ], path
        for name in ("confidence", "digit_likelihood", "probabilities"):
            assert row[name] == pytest.approx(told[name], abs=1e-5), path


def test_what_is_missing_or_empty_has_a_row_that_says_so(scored: tuple[Path, str]) -> None:
    found = by_path(scored[0])
    assert found["gone.png"]["error"] == "The file can't be read: No such file or directory."
    assert found["gone.png"]["error_code"] == "unreadable_file"
    assert found["empty.png"]["error_code"] == "unreadable_image"
    assert found[r"bytes-\xff.PNG"]["digit"] == 9


def test_errors_are_counted_by_their_codes(scored: tuple[Path, str]) -> None:
    failed = [row["error_code"] for row in rows(scored[0]) if row["error_code"]]
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
    status, told = score(source, out, *columns, "--shard", 60, **cluster)
    assert status == 1, told
    found = by_path(out)

    lost = {path: row["error_code"] for path, row in found.items() if "parquet" in path}
    count = len(list((pictures / "golden").iterdir())) + 1  # the last row has no picture
    assert lost == {
        "cut.parquet": "unreadable_file",
        **{f"broken.parquet#{number}": "unreadable_file" for number in range(count)},
        f"hostile.parquet#{len(list((pictures / 'hostile').iterdir()))}": "unreadable_image",
    }
    from_files = by_path(scored[0])
    for name in found.keys() - lost.keys():
        assert found[name] == {**from_files[f"hostile/{name}"], "path": name}
    assert len(files(out)) == 1 + 1 + 2  # of two groups of rows each, where there are more than 60


def test_a_bucket_is_read_and_written(cluster: Mapping[str, str], tmp_path: Path) -> None:
    Bucket.objects = {
        f"in/{file.name[0]} & more/{file.name}": file.read_bytes() for file in golden_uploads()[:9]
    }
    Bucket.objects |= {"in/empty.png": b"", "in/notes.txt": b"", "other/4.png": NINE.read_bytes()}
    with run_handler(Bucket) as address:
        options = f"?endpoint_override={address.removeprefix('http://')}&scheme=http&region=us-east-1"
        places = [f"s3://bucket/{name}{options}" for name in ("in", "out")]
        status, told = score(*places, "--shard", 6, **cluster)
    assert status == 1, told
    results = {
        key.removeprefix("out/"): data for key, data in Bucket.objects.items() if key.startswith("out/")
    }
    assert results.keys() >= {"", "_run.json"}
    for name in results.keys() - {""}:
        (tmp_path / name).write_bytes(results[name])
    assert {path: row["digit"] for path, row in by_path(tmp_path).items()} == {
        "empty.png": None,
        **{f"{file.name[0]} & more/{file.name}": int(file.name[0]) for file in golden_uploads()[:9]},
    }


@pytest.fixture(scope="module")
def finished(
    cluster: Mapping[str, str], temporary: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A folder of pictures, and its results by runs that were interrupted, lost a process and were killed."""
    source, out = (
        copies(tmp_path_factory.mktemp("photos") / "source", PHOTO, 1500),
        tmp_path_factory.mktemp("out"),
    )
    asked = (source, out, "--shard", 100, "--cores", 1)

    with started(*asked, **cluster) as running:
        wait_until(lambda: len(files(out)) >= 2, seconds=PATIENCE)
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130
    assert told.splitlines()[-1] == "Interrupted. Run the same command again to continue."
    ended = files(out)

    with started(*asked, RAY_TMPDIR=str(temporary / "own")) as running:
        wait_until(lambda: len(files(out)) > len(ended), seconds=PATIENCE)
        wait_until(lambda: kill(scorers(running.pid)) > 0, seconds=PATIENCE)
        without = len(files(out))
        wait_until(lambda: len(files(out)) >= without + 2, seconds=PATIENCE)  # Ray has started another
        assert kill([running.pid, *descendants(running.pid)])
    killed = files(out)
    assert len(ended) < len(killed) < 15

    cut = out / min(killed)  # as a machine that loses its power may leave it
    cut.write_bytes(cut.read_bytes()[:-10])
    whole = {name: told for name, told in killed.items() if name != cut.name}
    status, told = score(*asked, **cluster)
    assert status == 0, told
    assert f"1,500 pictures, {100 * len(whole):,} of them before, 0 with an error" in told
    assert whole.items() <= files(out).items()
    return source, out


def test_a_run_goes_on_until_every_picture_has_one_row(finished: tuple[Path, Path]) -> None:
    source, out = finished
    assert set(by_path(out)) == {file.name for file in source.iterdir()}
    assert {file.name for file in out.iterdir()} == {*files(out), "_run.json"}


def test_another_way_to_score_is_not_gone_on_with(finished: tuple[Path, Path]) -> None:
    source, out = finished
    for changed, setting in (
        (("--shard", "5"), '"shard": 100'),
        (("--shard", "100", "--model", "linear"), '"model": "cnn '),
    ):
        status, told = score(source, out, *changed)
        assert status == 2
        assert told.startswith(f"{out} was started with {setting}")


def test_a_source_that_has_changed_is_not_gone_on_with(
    finished: tuple[Path, Path], cluster: Mapping[str, str]
) -> None:
    source, out = finished
    before = files(out)
    for number in range(1400, 1500):
        (source / f"{number:05}.jpg").unlink()
    status, told = score(source, out, "--shard", 100, **cluster)
    assert status == 2, told
    assert "is made from other pictures: the source has changed since" in told
    (source / "00000.jpg").unlink()
    status, told = score(source, out, "--shard", 100, **cluster)
    assert status == 2, told
    assert "is made from other pictures: the source has changed since" in told
    assert files(out) == before


def files(out: Path) -> dict[str, tuple[int, int]]:
    """Return what tells whether a file of results has been written again."""
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
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("places")
    (folder / "empty").mkdir()
    copies(folder / "source", NINE, 1)
    copies(folder / "full", NINE, 1)
    parquet("pack", folder / "source", folder / "packed.parquet")
    return folder


@pytest.mark.parametrize(
    ("words", "environment", "message"),
    [
        (["{tmp}/nowhere", "{tmp}/out"], {}, "No such file or directory: '{tmp}/nowhere'"),
        (["{tmp}/empty", "{tmp}/out"], {}, "{tmp}/empty holds no pictures: no name ends with .bmp,"),
        (["{tmp}/source", "{tmp}/source/out"], {}, "{tmp}/source/out is in {tmp}/source: results would"),
        (
            ["{tmp}/source", "{tmp}/full"],
            {},
            "{tmp}/full holds other files than results. Choose a new folder.",
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
        (["{tmp}/source", "{tmp}/out"], {"RAY_ADDRESS": "nonsense"}, "RAY_ADDRESS=nonsense"),
    ],
)
def test_what_can_not_run_says_why_in_a_line(
    words: list[str], environment: dict[str, str], message: str, places: Path
) -> None:
    status, told = score(*(word.format(tmp=places) for word in words), **environment)
    assert status == 2
    assert message.format(tmp=places) in told.splitlines()[-1]
    assert "Traceback" not in told
