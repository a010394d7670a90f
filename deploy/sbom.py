"""Write a software bill of materials of the image, as a CycloneDX document.

The Dockerfile runs this script, so it needs only the standard library:

    python sbom.py REPORT SERVICE > sbom.json

REPORT comes from `pip install --report`, and has the hash of each installed wheel, which the environment does
not keep. SERVICE is the folder that holds `app` and `models`.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sys
import uuid
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

DEBIAN: Final = Path("/var/lib/dpkg/status")
_VERSION: Final = re.compile(r'^VERSION: Final = "(.+)"$', re.MULTILINE)
_CLASSIFIER: Final = "License :: OSI Approved :: "

Component = dict[str, Any]


def describe(report: Path, service: Path) -> dict[str, Any]:
    """Return the document: Python, installed packages, models, and the packages of the base image."""
    components = [
        _describe_python(),
        *_describe_packages(json.loads(report.read_text(encoding="utf-8"))),
        *(_describe_model(file.parent) for file in sorted(service.glob("models/*/model.onnx"))),
        *_describe_debian(),
    ]
    (version,) = _VERSION.findall((service / "app" / "version.py").read_text(encoding="utf-8"))
    digits = {"type": "container", "bom-ref": "digits", "name": "digits", "version": version}
    content = json.dumps(components).encode()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        # the same components give the same document, whenever it is built
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, _sha256(content))}",
        "version": 1,
        "metadata": {"component": {**digits, "licenses": [{"license": {"id": "MIT"}}]}},
        "components": components,
    }


def _describe_python() -> Component:
    version = platform.python_version()
    return {
        "type": "platform",
        "bom-ref": "python",
        "name": platform.python_implementation(),
        "version": version,
        "purl": f"pkg:generic/python@{version}",
        "licenses": [{"license": {"id": "PSF-2.0"}}],
    }


def _describe_packages(report: dict[str, Any]) -> Iterator[Component]:
    """Describe the packages in pip's report; fail if one has been removed since."""
    entries = {_normalise(entry["metadata"]["name"]): entry for entry in report["install"]}
    for name, entry in sorted(entries.items()):
        package = distribution(name)
        purl = f"pkg:pypi/{name}@{quote(package.version)}"
        sha256 = entry["download_info"]["archive_info"]["hashes"]["sha256"]
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": package.name,
            "version": package.version,
            "purl": purl,
            "hashes": [{"alg": "SHA-256", "content": sha256}],
            "licenses": _find_licences(package),
        }


def _find_licences(package: Distribution) -> list[dict[str, Any]]:
    """Return a package's licences, from the newest of the three fields that may hold them."""
    metadata = package.metadata
    if expressions := metadata.get_all("License-Expression"):
        return [{"expression": expressions[0]}]
    classifiers = metadata.get_all("Classifier") or []
    classified = [each.removeprefix(_CLASSIFIER) for each in classifiers if each.startswith(_CLASSIFIER)]
    names = classified or "\n".join(metadata.get_all("License") or []).splitlines()[:1]
    return [{"license": {"name": name}} for name in names]


def _describe_model(folder: Path) -> Component:
    component = {
        "type": "machine-learning-model",
        "bom-ref": f"models/{folder.name}",
        "name": folder.name,
        "hashes": [{"alg": "SHA-256", "content": _sha256((folder / "model.onnx").read_bytes())}],
        "licenses": [{"license": {"id": "MIT"}}],
    }
    metrics = folder / "metrics.json"
    if metrics.exists():
        component["version"] = json.loads(metrics.read_text(encoding="utf-8"))["model"]["version"]
    return component


def _describe_debian() -> Iterator[Component]:
    """Describe the packages of the base image, which dpkg has installed."""
    if not DEBIAN.exists():
        return
    release = platform.freedesktop_os_release()
    for block in DEBIAN.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^(\S+): (.*)$", block, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            query = f"arch={fields['Architecture']}&distro={release['ID']}-{release['VERSION_ID']}"
            purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?{query}"
            yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    json.dump(describe(Path(sys.argv[1]), Path(sys.argv[2])), sys.stdout, indent=1)
