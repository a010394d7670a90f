"""The settings of the service. `DIGITS_PORT` in the environment sets `port`, and so on."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .docstrings import read_docstrings
from .environment import (
    ENV_PREFIX,
    IS_INSTALLED,
    find_fault,
    find_service_links,
    find_unknown,
    format_value,
    is_installed,
    split_list,
)
from .wire.paths import FIRST_SEGMENTS

MEBIBYTE: Final = 1024 * 1024
FEEDBACK_PACKAGES: Final = "sqlalchemy 'psycopg[binary]'"  # the extra in pyproject.toml
MAX_PORT: Final = 65535
DEFAULT_MODEL: Final = "cnn"
_PACKAGE: Final = Path(__file__).parent
MODELS_DIR: Final = (_PACKAGE if IS_INSTALLED else _PACKAGE.parent) / "models"
DEFAULT_PORTS: Final = {"http": "80", "https": "443"}  # browsers omit them from origins
_ORIGIN_PATTERN: Final = re.compile(r"(https?)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?")
_BOUND_WORDS: Final = {"ge": "at least", "gt": "above", "le": "at most"}  # by their names in annotated_types
_ROOT_PATH_PATTERN: Final = re.compile(r"(?:/(?!\.\.?(?:/|$))[A-Za-z0-9._~-]+)+")
# what the value must be, by pydantic's type of error
_TYPE_WORDS: Final = {
    "int_parsing": "an integer",
    "int_parsing_size": "an integer",
    "int_from_float": "an integer",
    "int_type": "an integer",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "finite",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
}


class SettingsError(Exception):
    """Settings are invalid. The message has a line for each: name, value, fault, and what is allowed."""


class Settings(BaseSettings):
    """The settings of the service, read once at the start. docs/deploy.md shows the docstring of each."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        allow_inf_nan=False,
        env_ignore_empty=True,  # Compose passes unset variables as empty ones
        frozen=True,
        validate_default=True,
    )

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0, which the image sets, means all interfaces."""

    port: int = Field(default=8000, ge=1, le=MAX_PORT)
    """Port to listen on."""

    grpc_port: int | None = Field(default=None, ge=1, le=MAX_PORT)
    """Port for the Open Inference Protocol over gRPC. Unset: none. Needs the extra `grpc`."""

    workers: int = Field(default=1, ge=1, le=256)
    """Number of worker processes; there is no benefit in more than one per core."""

    models_dir: Path = MODELS_DIR
    """Folder of the models: NAME/model.onnx, and further versions in NAME/2/model.onnx and so on."""

    default_model: str = DEFAULT_MODEL
    """Model for requests that don't name one: NAME for its highest version, or NAME@N for version N."""

    max_body_bytes: int = Field(default=10 * MEBIBYTE, ge=1024)
    """Maximum size of a request body; 10 MiB is twice a 12-megapixel JPEG from a phone."""

    max_batch_body_bytes: int = Field(default=32 * MEBIBYTE, ge=1024)
    """Maximum size of a request body of /predict/batch and of infer in /v2, compressed or decompressed."""

    max_pixels: int = Field(default=40_000_000, ge=16)
    """Maximum width x height of a picture, checked before it is decoded."""

    max_connections: int = Field(default=1024, ge=1)
    """Maximum number of open connections per worker; a new one replaces the one that was idle longest."""

    max_in_flight: int = Field(default=128, ge=1)
    """Maximum number of pictures in flight per worker; requests beyond it get 503."""

    max_bytes_in_flight: int = Field(default=256 * MEBIBYTE, ge=1024)
    """Maximum bytes of request bodies in memory per worker; requests beyond it get 503."""

    max_batch: int = Field(default=64, ge=1)
    """Maximum number of pictures in a batch; each of them counts towards DIGITS_MAX_IN_FLIGHT."""

    read_timeout: float = Field(default=10.0, gt=0)
    """Seconds in which the head of a request must arrive, and then again for its body."""

    write_timeout: float = Field(default=10.0, gt=0)
    """Seconds after which a client is disconnected if it has read less than 1 KiB per second."""

    request_timeout: float = Field(default=10.0, gt=0)
    """Seconds that a prediction may take, not counting the upload."""

    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(default=(), repr=False)
    """Comma-separated keys of at least 8 characters, or ID:DIGEST entries. Without keys, access is open."""

    api_keys_file: Path | None = None
    """File of ids and SHA-256 digests, from the command `keys new ID`, in addition to DIGITS_API_KEYS."""

    public_docs: bool = True
    """Whether /docs and /openapi.json can be read without a key."""

    explain: bool = True
    """Whether POST /explain shows what decided an answer, at the cost of reading 400 digits."""

    rate_limit: int | None = Field(default=None, ge=1, le=1_000_000)
    """Requests per minute for each key or address, in each worker. Unset: only wrong keys are limited."""

    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    """Comma-separated addresses or networks of proxies whose X-Forwarded-For is trusted. Unset: none."""

    root_path: str | None = None
    """Path under which a proxy mounts the service, such as /digits; the proxy may remove it. Unset: none."""

    sagemaker: bool = False
    """Whether to answer /ping and /invocations, as Amazon SageMaker calls a container."""

    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Comma-separated origins whose pages may call the service, or * for all. Unset: none."""

    feedback_url: str | None = Field(default=None, repr=False)
    """Database for POST /feedback: sqlite:///FILE, or postgresql+psycopg://… Unset: nothing is stored."""

    feedback_max_bytes: int = Field(default=1024 * MEBIBYTE, ge=MEBIBYTE)
    """Maximum bytes of stored pictures, each counted as at least 1 KiB; requests beyond it get 507."""

    mcp: bool = False
    """Whether AI assistants may call the service at /mcp (Model Context Protocol). Needs the extra `mcp`."""

    label_studio_url: str | None = None
    """Label Studio that uses this as ML backend, such as http://localhost:8080. Unset: no /label-studio."""

    label_studio_key: str | None = Field(default=None, repr=False)
    """Access token with which the pictures of Label Studio's tasks are fetched."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged: debug, info, warning or error."""

    log_format: Literal["json", "text"] = "json"
    """json for one JSON object per line, or text for a human-readable log."""

    drain_delay: float = Field(default=0.0, ge=0)
    """Seconds to keep serving after SIGTERM, while readiness fails, so that load balancers notice."""

    graceful_timeout: int = Field(default=30, ge=1)
    """Seconds for requests in flight to finish after the drain delay."""

    @field_validator("*", mode="before")
    @classmethod
    def _strip_blanks(cls, value: object) -> object:
        return (
            value.strip() if isinstance(value, str) else value
        )  # an env file with CRLF line ends leaves a \r

    @field_validator("api_keys", "trusted_proxies", "cors_origins", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        return split_list(value) if isinstance(value, str) else value

    @field_validator("trusted_proxies")
    @classmethod
    def _check_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            _check_proxy(proxy)
        return value

    @field_validator("root_path")
    @classmethod
    def _check_root_path(cls, value: str | None) -> str | None:
        stripped = (value or "").rstrip("/")
        if stripped:
            _check_root_path(stripped)
        return stripped or None

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" or len(value) > 1:
                _check_origin(origin)
        return value

    @field_validator("max_bytes_in_flight")
    @classmethod
    def _check_holds_largest_body(cls, value: int, info: ValidationInfo) -> int:
        for name in ("max_body_bytes", "max_batch_body_bytes"):
            largest = info.data.get(name, 0)
            if largest > value:
                msg = f"it must hold the largest body, {largest} bytes as set by {ENV_PREFIX}{name.upper()}"
                raise ValueError(msg)
        return value

    @field_validator("grpc_port")
    @classmethod
    def _check_grpc(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None:
            _check_installed("grpc", modules=("grpc", "google.protobuf"))
            if value == info.data.get("port"):
                msg = "it can't be DIGITS_PORT, where HTTP is served"
                raise ValueError(msg)
        return value

    @field_validator("mcp")
    @classmethod
    def _check_mcp(cls, value: bool) -> bool:  # noqa: FBT001  as pydantic calls it
        if value:
            _check_installed("mcp", modules=("mcp",))
        return value

    @field_validator("feedback_url")
    @classmethod
    def _check_database(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                from .feedback.store import parse_url  # noqa: PLC0415  needs the extra `feedback`

                parse_url(value)
            except ModuleNotFoundError as error:
                msg = f"the extra 'feedback' is not installed ({error.name}): pip install {FEEDBACK_PACKAGES}"
                raise ValueError(msg) from None
        return value

    @field_validator("label_studio_url")
    @classmethod
    def _check_label_studio(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not _is_site(value):
            msg = f"{value!r} is not an address such as https://labels.example.org"
            raise ValueError(msg)
        _check_installed("labelstudio", modules=["httpx"])
        return value.rstrip("/")

    @field_validator("max_batch")
    @classmethod
    def _check_fits_in_flight(cls, value: int, info: ValidationInfo) -> int:
        places = info.data.get("max_in_flight", value)
        if value > places:
            msg = f"a batch can't have more pictures than DIGITS_MAX_IN_FLIGHT, which is {places}"
            raise ValueError(msg)
        return value


VARIABLES: Final[Mapping[str, str]] = {f"{ENV_PREFIX}{name.upper()}": name for name in Settings.model_fields}


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: a value is invalid, or a variable with the prefix is not a setting.
    """
    values = {
        setting: value
        for variable, value in os.environ.items()
        if value and (setting := VARIABLES.get(variable.upper()))
    }
    faults = {name: fault for name, value in values.items() if (fault := find_fault(name, value))}
    try:
        settings = Settings(**_ignore_service_links(os.environ))
    except ValidationError as invalid:
        faults = {str(error["loc"][0]): _explain(error) for error in invalid.errors()} | faults
    lines = find_unknown(os.environ, VARIABLES)
    lines += [_describe(name, values, faults[name]) for name in Settings.model_fields if name in faults]
    if lines:
        raise SettingsError("\n".join(lines))
    return settings


def _ignore_service_links(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the defaults of settings whose variable Kubernetes sets: DIGITS_PORT=tcp://… for a Service."""
    linked = VARIABLES.keys() & find_service_links(environment)
    return {(name := VARIABLES[variable]): Settings.model_fields[name].default for variable in linked}


def _describe(name: str, values: Mapping[str, str], fault: str) -> str:
    field = Settings.model_fields[name]
    value = format_value(values.get(name, field.default)) if field.repr else "(not shown)"
    meaning = read_docstrings(Settings).get(name, "")
    default = _format_default(field.default)
    return f"{ENV_PREFIX}{name.upper()}={value}: {fault}. {meaning} Default: {default}."


def _format_default(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return "unset" if default in {None, ()} else str(default)


def _explain(error: ErrorDetails) -> str:
    """Describe a validation error for operators; pydantic's messages are for Python programmers."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "literal_error":
        return f"it must be {error['ctx']['expected']}"
    type_words = _TYPE_WORDS.get(error["type"])
    bounds = [
        f"{words} {getattr(bound, attribute)}"
        for bound in Settings.model_fields[str(error["loc"][0])].metadata
        for attribute, words in _BOUND_WORDS.items()
        if hasattr(bound, attribute)
    ]
    return "it must be " + "; ".join([type_words, *bounds] if type_words else bounds)


def _check_installed(extra: str, *, modules: Sequence[str]) -> None:
    """Raise ValueError if a module of an extra is missing; nothing is imported."""
    for module in modules:
        if not is_installed(module):
            msg = f"the extra '{extra}' is not installed ({module} is missing): pip install 'digits[{extra}]'"
            raise ValueError(msg)


def _is_site(address: str) -> bool:
    """Tell whether an address is http or https with a host, and perhaps a path, and nothing else."""
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return False
    has_more = bool(parts.query or parts.fragment or "@" in parts.netloc)
    return parts.scheme in DEFAULT_PORTS and bool(parts.hostname) and not has_more


def _check_proxy(proxy: str) -> None:
    """Raise ValueError if the text is not a network, or the network contains every address."""
    too_open = f"{proxy} would let every client forge its address; list only the addresses of proxies"
    if proxy == "*":
        raise ValueError(too_open)
    try:
        network = ip_network(proxy, strict=False)
    except ValueError as error:
        msg = f"{error}; list addresses or networks, such as 10.0.0.5 or 10.0.0.0/8"
        raise ValueError(msg) from None
    if not network.prefixlen:
        raise ValueError(too_open)
    if "/" in proxy and ip_network(proxy.partition("/")[0]).network_address != network.network_address:
        msg = f"{proxy} is an address within a network; write {network} for the whole network"
        raise ValueError(msg)


def _check_root_path(path: str) -> None:
    """Raise ValueError if the path can't be a prefix, or could be taken for one of the service's own."""
    if not _ROOT_PATH_PATTERN.fullmatch(path):
        msg = (
            f"{path!r} is not a path, such as /digits: a slash before each name, of letters, digits, . _ ~ -"
        )
        raise ValueError(msg)
    first = path.split("/")[1]
    if first in FIRST_SEGMENTS:
        msg = f"/{first} is a path of the service itself; mount it elsewhere, such as under /digits"
        raise ValueError(msg)


def _check_origin(origin: str) -> None:
    """Raise ValueError if no browser would send this origin; origins are compared character by character."""
    match = _ORIGIN_PATTERN.fullmatch(origin)
    if match and int(match[2] or 0) <= MAX_PORT:
        if match[2] != DEFAULT_PORTS[match[1]]:
            return
        msg = f"browsers omit the default port; write {origin.rpartition(':')[0]}"
    elif origin == "*":
        msg = "* allows every origin; use it on its own, or leave it out"
    elif "*" in origin:
        msg = f"{origin!r} has a *, which is not a wildcard within an origin; list all origins, or only *"
    elif origin != origin.lower() and _ORIGIN_PATTERN.fullmatch(origin.lower()):
        msg = f"browsers send origins in lower case; write {origin.lower()}"
    else:
        msg = f"{origin!r} is not an origin, such as https://example.org or http://localhost:3000"
    raise ValueError(msg)
