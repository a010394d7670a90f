"""Create an environment of locked packages: `python requirements/install.py dev .venv-dev`.

A lock is complete, so pip has nothing to resolve (`--no-deps`), and packages that are published later change
nothing. Any Python 3 can read this file, so that one that is too old prints a message and no traceback.
"""

import argparse
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
OLDEST = 11  # minor version of Python 3 that the code is written for
GLIBC = (2, 28)  # manylinux_2_28 is the newest tag among the locked wheels
MACOS = 14  # the oldest version that onnxruntime's wheels support
OPTIONS = ("--no-deps", "--require-hashes", "--only-binary=:all:")  # nothing is resolved or built
PROGRESS_INTERVAL = 10  # seconds between two lines of progress, if the output is not a terminal
LOG_LINES = 15  # the last lines of pip's log to show when it fails; its errors are shorter
X86_LINUX = {"Linux x86_64": "Linux x86-64 (glibc 2.28)"}
PLATFORMS = {  # system and machine, as in Python's `platform`, and their names for people
    **X86_LINUX,
    "Linux aarch64": "Linux Arm64 (glibc 2.28)",
    "Darwin arm64": "macOS 14 on Apple silicon",
    "Windows AMD64": "Windows x64",
}


class Environment(NamedTuple):
    """What a lock is for, the Pythons and platforms that have all its wheels, and what installing costs."""

    purpose: str
    newest: int  # minor version of Python 3
    limit: str  # the package that has no wheel for a newer Python
    download: str
    disk: str
    duration: str  # measured on two cores
    platforms: "dict[str, str]" = PLATFORMS
    # Whether to compile modules while installing. Otherwise Python does so at the first import, and
    # `dev` installs in two thirds of the time; but a service may run as a user who can't write there.
    is_compiled: bool = False


ENVIRONMENTS = {
    "service": Environment(
        "the service", 14, "onnxruntime", "115 MB", "350 MB", "ten seconds", is_compiled=True
    ),
    "feedback": Environment(
        "the service with feedback", 14, "onnxruntime", "125 MB", "380 MB", "ten seconds", is_compiled=True
    ),
    "full": Environment(
        "the service with every extra",
        14,
        "onnxruntime",
        "135 MB",
        "480 MB",
        "half a minute",
        is_compiled=True,
    ),
    "dev": Environment("the development environment", 13, "TensorFlow", "1 GB", "3.1 GB", "one minute"),
    "ray": Environment("Ray with the service", 14, "onnxruntime", "300 MB", "860 MB", "one minute"),
    "rivals": Environment(
        "PP-OCR with the service", 14, "onnxruntime", "150 MB", "380 MB", "fifteen seconds"
    ),
    "clients": Environment(
        "the reference clients",
        13,
        "label-studio-sdk",
        "185 MB",
        "730 MB",
        "half a minute",
        platforms=X86_LINUX,
    ),
}


class InstallError(Exception):
    """An environment can't be created; the message says why, and how to solve it."""


def main() -> int:
    """Create the environment that the command line names; return the exit status."""
    parser = argparse.ArgumentParser(description="Create an environment of locked packages.")
    parser.add_argument("name", choices=ENVIRONMENTS, help="one of the locks beside this file")
    parser.add_argument("folder", type=Path, help="the environment's folder; an existing one is replaced")
    options = parser.parse_args()
    environment = ENVIRONMENTS[options.name]
    try:
        check_python(environment)
        check_platform(environment)
        install(environment, HERE / f"{options.name}.txt", options.folder)
    except InstallError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # the exit status of shells for SIGINT
    return 0


def check_python(environment: Environment, version: "tuple[int, ...]" = sys.version_info[:3]) -> None:
    """Raise `InstallError` if the locked packages have no wheels for a version of this Python."""
    threaded = ", free-threaded" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    supported = (3, OLDEST) <= version[:2] <= (3, environment.newest)
    if not supported or threaded or sys.implementation.name != "cpython":
        names = [f"python3.{minor}" for minor in range(environment.newest, OLDEST - 1, -1)]
        installed = [
            f"Use {name}: add PYTHON={name} to the make command." for name in names if shutil.which(name)
        ]
        missing = f"Install one, and add for example PYTHON={names[0]} to the make command."
        msg = (
            f"{environment.purpose.capitalize()} needs CPython 3.{OLDEST} to 3.{environment.newest} "
            f"({environment.limit} has no wheel for a newer one), and {sys.executable} is "
            f"{platform.python_implementation()} {'.'.join(map(str, version))}{threaded}. "
            f"{[*installed, missing][0]}"
        )
        raise InstallError(msg)
    if not importlib.util.find_spec("ensurepip"):
        msg = f"{sys.executable} can't create environments: run `apt-get install python3-venv`."
        raise InstallError(msg)


def check_platform(environment: Environment) -> None:
    """Raise `InstallError` if the locked packages have no wheels for this machine."""
    is_known = f"{platform.system()} {platform.machine()}" in environment.platforms
    if not is_known or sys.maxsize < 2**32 or not is_recent():
        msg = (
            f"{environment.purpose.capitalize()} needs {' or '.join(environment.platforms.values())}, or "
            f"newer, and this is {platform.platform()}. Use such a machine, or a container on one."
        )
        raise InstallError(msg)


def is_recent() -> bool:
    """Tell whether the operating system is recent enough for the wheels."""
    if platform.system() == "Darwin":
        return int(platform.mac_ver()[0].split(".")[0]) >= MACOS
    if platform.system() != "Linux":
        return True
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (OSError, ValueError):  # the C library is musl
        return False
    return name == "glibc" and tuple(map(int, version.split(".")[:2])) >= GLIBC


def install(environment: Environment, lock: Path, folder: Path) -> None:
    """Create the environment, and verify with `pip check` that the lock is complete."""
    total = len(set(re.findall(r"^[\w.-]+(?===)", lock.read_text(), re.MULTILINE)))
    cost = f"{total} packages, {environment.download} to fetch, {environment.disk} on disk"
    print(f"Installing {environment.purpose} into {folder}: {cost}, about {environment.duration}", flush=True)
    started = time.monotonic()
    run(sys.executable, "-m", "venv", "--clear", str(folder))
    pip = [str(folder / ("Scripts" if os.name == "nt" else "bin") / "python"), "-m", "pip"]
    options = [*OPTIONS, "--disable-pip-version-check", "--progress-bar=off", "--no-input"]
    if not environment.is_compiled:
        options.append("--no-compile")
    run_pip([*pip, "install", *options, "-r", str(lock)], folder, total=total)
    run(*pip, "check")
    print(f"Installed {environment.purpose} in {time.monotonic() - started:.0f} s", flush=True)


def run(*command: str) -> None:
    """Run a command, and show its output only if it fails."""
    process = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if process.returncode:
        msg = f"{' '.join(command)} failed:\n{process.stdout.decode(errors='replace').rstrip()}"
        raise InstallError(msg)


def run_pip(command: "list[str]", folder: Path, *, total: int) -> None:
    """Run pip with its log in the folder, and show its progress."""
    log = folder / "install.log"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with log.open("w") as file:
        pip = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
    display = Display()
    while pip.poll() is None:
        display.update(describe_progress(log.read_text(errors="replace"), folder, total=total))
        with suppress(subprocess.TimeoutExpired):
            pip.wait(timeout=1)
    display.clear()
    if pip.returncode:
        last = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        raise InstallError("\n".join([*last, f"pip failed; {log} has its full output"]))


def describe_progress(log: str, folder: Path, *, total: int) -> str:
    """Describe pip's progress, judging by its log and the unpacked packages."""
    if "\nInstalling collected packages" in log:
        packages = sysconfig.get_path("purelib", "venv", {"base": str(folder)})
        unpacked = sum(1 for _ in Path(packages).glob("*.dist-info"))
        return f"unpacked {min(unpacked, total)} of {total}"  # pip itself has been unpacked, too
    fetched = re.findall(r"^(?:Collecting|Processing) (?:\S*/)?([\w.-]+?)(?:==|-\d)", log, re.MULTILINE)
    return f"fetching {len(fetched)} of {total}: {fetched[-1]}" if fetched else "starting pip"


class Display:
    """A line of progress: rewritten on a terminal; elsewhere, a new line every ten seconds."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._printed = time.monotonic()

    def update(self, text: str) -> None:
        """Show the progress, unless the last line is too recent."""
        if self._is_terminal:
            print(f"\r  {text:<70.70}", end="", flush=True)
        elif time.monotonic() - self._printed >= PROGRESS_INTERVAL:
            print(f"  {text}", flush=True)
            self._printed = time.monotonic()

    def clear(self) -> None:
        """Remove the line of progress from a terminal."""
        if self._is_terminal:
            print(f"\r{'':<72}\r", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
