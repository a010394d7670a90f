"""What others wrote is pinned, packages by hash, images by digest, actions by commit; and it is listed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final
from zipfile import ZipFile

import pytest
import yaml
from jsonschema import Draft7Validator
from referencing import Registry, Resource

from app import __version__
from tests.conftest import MODELS, ROOT

SCHEMAS: Final = ROOT / "tests" / "data" / "cyclonedx-1.6.zip"  # as published: Apache-2.0
COMPOSE: Final = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE: Final = (ROOT / "Dockerfile").read_text()
DIGEST: Final = r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}"
WORKFLOWS: Final = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
LOCK: Final = ROOT / "requirements" / "service.txt"

Document = dict[str, Any]


def test_the_image_is_built_from_a_digest() -> None:
    (base,) = re.findall(r"^ARG PYTHON=(.+)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(DIGEST, base)
    (renewed,) = re.findall(r"^FROM (.+) AS renewed$", DOCKERFILE, re.MULTILINE)
    assert base == renewed, f"Dependabot has renewed the base image: write ARG PYTHON={renewed}"
    others = {name for name in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) if name != renewed}
    assert others == {"${PYTHON}"}


def test_compose_pins_other_images_by_digest() -> None:
    images = {name: each["image"] for name, each in COMPOSE["services"].items() if "build" not in each}
    assert images.keys() == {"prometheus", "grafana", "postgres"}
    for image in images.values():
        assert re.fullmatch(DIGEST, image), image


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_workflows_pin_actions_by_commit_and_have_read_only_permissions(file: Path) -> None:
    text = file.read_text()
    used = re.findall(r"uses: *(.+)", text)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    granted = {name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job}
    assert granted == ({"release": {"contents": "write"}} if file.name == "release.yml" else {})


def test_dependabot_updates_everything_that_is_pinned() -> None:
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    kinds = {update["package-ecosystem"]: ROOT / update["directory"].lstrip("/") for update in updates}
    assert kinds.keys() == {"pip", "docker", "docker-compose", "github-actions"}
    assert (kinds["pip"] / LOCK.name).exists()


# --- the software bill of materials


@cache
def validator() -> Draft7Validator:
    with ZipFile(SCHEMAS) as archive:
        schemas = {name: json.loads(archive.read(name)) for name in archive.namelist()}
    resources = [(schema["$id"], Resource.from_contents(schema)) for schema in schemas.values()]
    registry: Registry[Any] = Registry().with_resources(resources)
    # they refer to one another by the names of their files
    by_file_name = [
        (f"http://cyclonedx.org/schema/{name}", Resource.from_contents(schema))
        for name, schema in schemas.items()
    ]
    return Draft7Validator(
        schemas["bom-1.6.SNAPSHOT.schema.json"], registry=registry.with_resources(by_file_name)
    )


def read_locked_hashes() -> dict[str, set[str]]:
    """Return the hashes of the files that the lock allows, by package."""
    hashes: dict[str, set[str]] = {}
    for entry in re.split(r"^(?=\S)", LOCK.read_text(), flags=re.MULTILINE):
        if pinned := re.match(r"([\w.-]+)==", entry):  # numpy has an entry for each range of Pythons
            hashes.setdefault(pinned[1], set()).update(re.findall(r"sha256:([0-9a-f]{64})", entry))
    return hashes


def check_document(document: Document) -> None:
    """Assert that a document is valid, and that it has every package of the lock and every model."""
    assert not list(validator().iter_errors(document))
    assert document["metadata"]["component"]["version"] == __version__
    parts = document["components"]
    python = [part for part in parts if part.get("purl", "").startswith("pkg:pypi/")]
    packages = {re.sub(r"[-_.]+", "-", part["name"]).lower(): part for part in python}
    assert packages.keys() == read_locked_hashes().keys()
    for name, part in packages.items():
        assert part["licenses"], name
        assert {each["content"] for each in part["hashes"]} <= read_locked_hashes()[name]
    models = {part["name"]: part for part in parts if part["type"] == "machine-learning-model"}
    assert models.keys() == {file.parent.name for file in MODELS.glob("*/model.onnx")}
    for name, part in models.items():
        measured = json.loads((MODELS / name / "metrics.json").read_text())["model"]
        assert part["hashes"] == [{"alg": "SHA-256", "content": measured["sha256"]}]
        assert part["version"] == measured["version"]


@pytest.fixture
def document(tmp_path: Path) -> Document:
    """What the script says of this environment, as if pip had reported that it installed it."""
    entries = [
        {"metadata": {"name": name}, "download_info": {"archive_info": {"hashes": {"sha256": min(hashes)}}}}
        for name, hashes in read_locked_hashes().items()
    ]
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"install": entries}))
    command = [sys.executable, str(ROOT / "deploy" / "sbom.py"), str(report), str(ROOT)]
    written = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    loaded: Document = json.loads(written)
    return loaded


def test_the_bill_of_materials_is_valid_and_complete(document: Document) -> None:
    check_document(document)
    assert [part["name"] for part in document["components"] if part["type"] == "platform"] == ["CPython"]


def test_an_invalid_document_is_detected(document: Document) -> None:
    document["components"][0]["hashes"] = [{"alg": "SHA-256", "content": "seven"}]
    assert list(validator().iter_errors(document))
