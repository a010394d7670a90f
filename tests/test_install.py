"""Environments are made from the locks alone, by any pip, now and when newer packages have been published."""

from __future__ import annotations

import ast
import base64
import hashlib
import os
import re
import runpy
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import ROOT
from tests.documents import find_table

SCRIPT: Final = ROOT / "requirements" / "install.py"
INSTALL: Final[dict[str, Any]] = runpy.run_path(str(SCRIPT))
ENVIRONMENTS: Final = INSTALL["ENVIRONMENTS"]
RESOLVED: Final = tuple(option for option in INSTALL["OPTIONS"] if option != "--no-deps")
# of Debian 12, the oldest that a supported Python brings; until 23.3 it resolves extras anew
OLD_PIP: Final = "23.0.1"
PIPS: Final = [OLD_PIP, "23.2.1", "newest"]  # Python 3.11.7 and 3.12.1 bring the second
UV_PLATFORMS: Final = {
    "Linux x86_64": "x86_64-manylinux_2_28",
    "Linux aarch64": "aarch64-manylinux_2_28",
    "Darwin arm64": "aarch64-apple-darwin",
    "Windows AMD64": "x86_64-pc-windows-msvc",
}


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def publish(registry: Path, name: str, version: str, *metadata: str) -> str:
    """Put a wheel into a folder; return its line for a lock."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": "\n".join(
            ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *metadata, ""]
        ),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{file},sha256={digest(text)},{len(text)}\n" for file, text in files.items()]
    wheel = registry / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
        archive.writestr(f"{info}/RECORD", "".join([*record, f"{info}/RECORD,,\n"]))
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


class Project:
    """The installer beside a lock of its own, and a registry that holds nothing else."""

    def __init__(self, folder: Path) -> None:
        self.registry = folder / "registry"
        self.registry.mkdir()
        self.script = folder / "install.py"
        shutil.copy(SCRIPT, self.script)
        self.lock = folder / "service.txt"
        self.environment = folder / "environment"
        self.settings = {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.registry),
        }

    def install(self) -> subprocess.CompletedProcess[str]:
        return run(sys.executable, self.script, "service", self.environment, **self.settings)

    def ask(self, code: str) -> str:
        return run(self.environment / "bin" / "python", "-c", code).stdout


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A lock in which `base` is pinned, while `user` asks for `base[extra]` and a newer `base` is out."""
    project = Project(tmp_path)
    user = publish(project.registry, "user", "1.0", "Requires-Dist: base[extra]>=1.0")
    extra = "Provides-Extra: extra"
    project.lock.write_text(user + publish(project.registry, "base", "1.0", extra))
    publish(project.registry, "base", "1.1", extra)
    return project


def test_the_locked_version_is_installed_although_a_newer_one_has_been_published(project: Project) -> None:
    result = project.install()
    assert result.returncode == 0, result.stdout
    assert project.ask("import base, user; print(base.VERSION)") == "1.0\n"


def test_the_first_line_gives_purpose_size_and_duration(project: Project) -> None:
    first, *_, last = project.install().stdout.splitlines()
    service = ENVIRONMENTS["service"]
    assert first.startswith(f"Installing the service into {project.environment}: 2 packages, ")
    assert f"{service.download} to fetch, {service.disk} on disk, about {service.duration}" in first
    assert last.startswith("Installed the service in ")


def test_an_existing_environment_is_not_reused(project: Project) -> None:
    project.install()
    installed = next(project.environment.rglob("base.py"))
    installed.write_text("VERSION = 'changed by hand'")
    project.install()
    assert project.ask("import base; print(base.VERSION)") == "1.0\n"


def test_a_lock_that_lacks_a_package_fails(project: Project) -> None:
    project.lock.write_text(project.lock.read_text().splitlines()[0])
    result = project.install()
    assert result.returncode == 1
    assert "user 1.0 requires base, which is not installed" in result.stdout
    assert "Traceback" not in result.stdout


def test_a_package_with_another_hash_fails(project: Project) -> None:
    publish(project.registry, "base", "1.0", "Provides-Extra: extra", "Summary: of somebody else")
    result = project.install()
    assert result.returncode == 1
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in result.stdout
    assert f"{project.environment / 'install.log'} has its full output" in result.stdout
    assert "Traceback" not in result.stdout


def test_nothing_is_built_from_source(project: Project) -> None:
    (project.registry / "base-1.0-py3-none-any.whl").rename(project.registry / "base-1.0.tar.gz")
    result = project.install()
    assert result.returncode == 1
    assert "No matching distribution found for base==1.0" in result.stdout


def make_pip(version: str, folder: Path) -> Path:
    """Make an environment with a pip of this version; return its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    wanted = ["--upgrade", "pip"] if version == "newest" else [f"pip=={version}"]
    result = run(python, "-m", "pip", "install", "--quiet", *wanted)
    assert result.returncode == 0, result.stdout
    return python


@pytest.mark.needs("registry")
@pytest.mark.parametrize("version", PIPS)
def test_old_and_new_pips_install_the_locked_versions(project: Project, tmp_path: Path, version: str) -> None:
    python = make_pip(version, tmp_path / "pip")
    install = (python, "-m", "pip", "install", "-r", project.lock)
    if version != "newest":
        assert "base" in run(*install, *RESOLVED, **project.settings).stdout.partition("ERROR")[2]
    result = run(*install, *INSTALL["OPTIONS"], **project.settings)
    assert result.returncode == 0, result.stdout
    assert run(python, "-c", "import base, user; print(base.VERSION)").stdout == "1.0\n"


@pytest.mark.needs("registry")
@pytest.mark.parametrize(("name", "version"), [("dev", "23.0.1"), ("service", "newest")])
def test_old_and_new_pips_find_all_locked_packages(tmp_path: Path, name: str, version: str) -> None:
    python = make_pip(version, tmp_path / "pip")
    lock = SCRIPT.with_name(f"{name}.txt")
    result = run(python, "-m", "pip", "install", "--dry-run", *INSTALL["OPTIONS"], "-r", lock)
    assert result.returncode == 0, result.stdout[-2000:]
    assert "Would install " in result.stdout


def find_wheels(target: Path, name: str, python: str, platform: str) -> subprocess.CompletedProcess[str]:
    """Look whether every locked package has a wheel for a Python on a platform."""
    return run(
        *(sys.executable, "-m", "uv", "pip", "install", "--dry-run", "--target", target, "--quiet"),
        "--system-certs",  # as pip does
        *("--no-deps", "--require-hashes", "--no-build"),
        *("--python-version", python, "--python-platform", UV_PLATFORMS[platform]),
        *("--requirements", SCRIPT.with_name(f"{name}.txt")),
        MACOSX_DEPLOYMENT_TARGET=f"{INSTALL['MACOS']}.0",
    )


@pytest.mark.needs("registry")
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_supported_pythons_and_platforms_have_wheels(tmp_path: Path, name: str) -> None:
    environment = ENVIRONMENTS[name]
    pythons = [f"3.{INSTALL['OLDEST']}.0", f"3.{environment.newest}"]
    for python in pythons:
        for platform in environment.platforms:
            result = find_wheels(tmp_path, name, python, platform)
            assert result.returncode == 0, f"{python} on {platform}: {result.stdout}"


@pytest.mark.needs("registry")
@pytest.mark.parametrize("name", ["service", "dev"])
def test_the_next_python_has_no_wheels_yet(tmp_path: Path, name: str) -> None:
    result = find_wheels(tmp_path, name, f"3.{ENVIRONMENTS[name].newest + 1}", "Linux x86_64")
    assert "no wheels" in result.stdout or "no usable wheels" in result.stdout


@pytest.mark.parametrize("minor", [10, 15])
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_unsupported_python_is_refused_in_one_line(name: str, minor: int) -> None:
    environment = ENVIRONMENTS[name]
    with pytest.raises(INSTALL["InstallError"]) as refusal:
        INSTALL["check_python"](environment, (3, minor, 7))
    (line,) = str(refusal.value).splitlines()
    range_ = f"CPython 3.11 to 3.{environment.newest} ({environment.limit} has no wheel for a newer one)"
    assert f" needs {range_}, and {sys.executable} is CPython 3.{minor}.7. " in line
    assert re.search(r"PYTHON=python3\.1[1-4] to the make command\.$", line)


def test_the_development_environment_needs_an_older_python_than_the_service() -> None:
    INSTALL["check_python"](ENVIRONMENTS["service"], (3, 14, 0))
    with pytest.raises(INSTALL["InstallError"], match="TensorFlow has no wheel for a newer one"):
        INSTALL["check_python"](ENVIRONMENTS["dev"], (3, 14, 0))


def test_an_unsupported_platform_is_refused_in_one_line() -> None:
    with pytest.raises(INSTALL["InstallError"]) as refusal:
        INSTALL["check_platform"](ENVIRONMENTS["service"]._replace(platforms={"Plan 9": "Plan 9 on Arm"}))
    (line,) = str(refusal.value).splitlines()
    assert line.startswith("The service needs Plan 9 on Arm, or newer, and this is ")


def test_the_installer_can_be_read_by_a_python_that_is_too_old() -> None:
    ast.parse(SCRIPT.read_text(), feature_version=(3, 6))


def test_this_machine_is_supported() -> None:
    INSTALL["check_python"](ENVIRONMENTS["dev"])
    INSTALL["check_platform"](ENVIRONMENTS["dev"])


def test_the_readme_says_what_each_command_installs() -> None:
    rows = find_table("README.md", "command", "installs", "Python", "download", "disk", "time")
    assert len(rows) == 5
    for (_, contents, *cells), name in zip(rows, ("service", "dev", "clients", "ray", "rivals"), strict=True):
        environment = ENVIRONMENTS[name]
        assert environment.purpose.removeprefix("the ") in contents
        assert cells == [
            f"3.{INSTALL['OLDEST']} to 3.{environment.newest}",
            environment.download,
            environment.disk,
            environment.duration,
        ]


def test_make_test_needs_one_environment() -> None:
    planned = run("make", "--dry-run", "--always-make", "--directory", ROOT, "test").stdout
    assert "requirements/install.py dev .venv-dev" in planned
    assert "clients" not in planned
    assert "ray" not in planned
    assert "rivals" not in planned
