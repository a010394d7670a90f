"""The wheel and the source archive hold what they should, and work where nothing else is."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.conftest import GOLDEN, MODELS, ROOT
from tests.documents import find_blocks, matches_text
from tests.serving import free_port, wait_until

README: Final = "README.md"
PAGE: Final = "docs/install.md"
BIN: Final = "Scripts" if os.name == "nt" else "bin"


def build(target: Path, kind: str) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (archive,) = target.iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"), "wheel")


def test_the_wheel_holds_one_package_with_its_models(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names} == {"digits", f"{wheel.name[:12]}.dist-info"}
    for model in MODELS.glob("*/model.onnx"):
        assert f"digits/models/{model.parent.name}/model.onnx" in names
        assert f"digits/models/{model.parent.name}/metrics.json" in names
    assert {"digits/py.typed", "digits/static/index.html", "digits/api/examples.json"} <= {*names}
    assert not [name for name in names if name.endswith(".keras")]


def test_no_module_of_the_wheel_imports_by_the_repositorys_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        sources = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".py")]
    absolute = re.compile(r"^\s*(?:from|import) app\b", re.MULTILINE)
    assert not [source for source in sources if absolute.search(source)]


def test_the_source_archive_builds_the_same_wheel(tmp_path: Path, wheel: Path) -> None:
    archive = build(tmp_path / "sdist", "sdist")
    subprocess.run(["tar", "--extract", "--file", archive, "--directory", tmp_path], check=True)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "wheel")]
    subprocess.run(command, cwd=next(tmp_path.glob("digits-*")), check=True, capture_output=True)
    with zipfile.ZipFile(wheel) as ours, zipfile.ZipFile(next((tmp_path / "wheel").iterdir())) as theirs:
        assert {info.filename: info.CRC for info in ours.infolist()} == {
            info.filename: info.CRC for info in theirs.infolist()
        }


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The programs of an environment that holds the locked packages and the wheel."""
    environment = tmp_path_factory.mktemp("environment") / "env"
    install = ROOT / "requirements" / "install.py"
    subprocess.run([sys.executable, install, "service", environment], check=True, capture_output=True)
    pip: list[str | Path] = [
        environment / BIN / "python",
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        wheel,
    ]
    subprocess.run(pip, check=True, capture_output=True)
    return environment / BIN


@pytest.mark.needs("registry")
def test_the_installed_command_reads_a_photo_from_an_empty_folder(scripts: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [scripts / "digits", "read", GOLDEN / "7-photo.jpg"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.stdout.split()[0] == "7"


@pytest.mark.needs("registry")
def test_the_installed_command_serves_from_an_empty_folder(scripts: Path, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}"

    def is_ready() -> bool:
        try:
            return httpx.get(f"{url}/health/ready").is_success
        except httpx.TransportError:
            return service.poll() is not None

    with subprocess.Popen([scripts / "digits", "serve", "--port", str(port)], cwd=tmp_path) as service:
        try:
            wait_until(is_ready)
            for path in ("/", "/docs", "/openapi.json"):
                assert httpx.get(f"{url}{path}").is_success
            answer = httpx.post(
                f"{url}/predict",
                content=(GOLDEN / "7-photo.jpg").read_bytes(),
                headers={"Content-Type": "image/jpeg"},
            )
            assert answer.json()["digit"] == 7
        finally:
            service.terminate()
    assert service.returncode == 0


@pytest.mark.needs("registry")
def test_the_installed_package_is_imported_as_digits(scripts: Path, tmp_path: Path) -> None:
    code = "import digits, sys; print(digits.read_digit(sys.argv[1]).digit, digits.__version__)"
    command: list[str | Path] = [scripts / "python", "-c", code, GOLDEN / "7-photo.jpg"]
    result = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert result.stdout.split()[0] == "7"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with the files that the pages name."""
    shutil.copy(GOLDEN / "7-photo.jpg", tmp_path / "photo.jpg")
    shutil.copy(ROOT / "tests" / "data" / "numbers" / "4071.jpg", tmp_path / "number.jpg")
    shutil.copy(ROOT / "LICENSE", tmp_path / "notes.txt")
    return tmp_path


def list_examples() -> list[tuple[str, str]]:
    """Return each command `digits read` that has its output below it, from both pages."""
    return [
        (command.strip().splitlines()[-1], output.strip())
        for page in (README, PAGE)
        for (language, command), (next_language, output) in pairwise(find_blocks(page))
        if language == "sh" and next_language == "text" and "digits read" in command
    ]


@pytest.mark.needs("registry")
def test_documented_commands_print_what_is_below_them(scripts: Path, pictures: Path) -> None:
    examples = list_examples()
    assert len(examples) == 2
    for command, output in examples:
        program, *words = shlex.split(command)
        result = subprocess.run(
            [scripts / program, *(str(ROOT / word) if word.startswith("tests/") else word for word in words)],
            cwd=pictures,
            check=True,
            capture_output=True,
            text=True,
        )
        assert matches_text(output, result.stdout.replace(f"{ROOT}/", "")), result.stdout


@pytest.mark.needs("registry")
def test_documented_python_runs(scripts: Path, pictures: Path) -> None:
    (block,) = (block for language, block in find_blocks(PAGE) if language == "python")
    values = re.findall(r"^(\S.*?)\s+# (.+)$", block, re.MULTILINE)
    checked = block + "".join(f"assert str({code}) == str({value})\n" for code, value in values)
    subprocess.run([scripts / "python", "-c", checked], cwd=pictures, check=True)
