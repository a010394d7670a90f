"""Every setting of the service, read from the environment: `DIGITS_` and the field's name."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX: Final = "DIGITS_"
MEBIBYTE: Final = 1024 * 1024
_ORIGIN: Final = re.compile(r"https?://[^/\s]+")
FEEDBACK_PACKAGES: Final = "sqlalchemy 'psycopg[binary]'"  # of the extra in pyproject.toml
_BOUNDS: Final = {"ge": "at least", "gt": "above", "le": "at most"}  # as annotated_types names them


class SettingsError(Exception):
    """A setting is wrong; the text has a line for each, with its name, its value and what is allowed."""


class Settings(BaseSettings):
    """The service's settings; frozen, made once at start."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        allow_inf_nan=False,
        env_ignore_empty=True,  # compose files pass unset variables as empty ones
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all, as the image sets."""

    port: int = Field(default=8000, ge=1, le=65535)
    """Port to listen on."""

    workers: int = Field(default=1, ge=1, le=256)
    """Processes that serve; one a core is the most that helps."""

    models_dir: Path = Path(__file__).parent.parent / "models"
    """Folder of the models: NAME/model.onnx, and NAME/2/model.onnx, … for further versions."""

    default_model: str = "cnn"
    """The model that answers when a request names none: NAME for its highest version, or NAME@N."""

    max_body_bytes: int = Field(default=10 * MEBIBYTE, ge=1024)
    """Largest request body; 10 MiB is a 12-megapixel phone JPEG, twice."""

    max_batch_body_bytes: int = Field(default=32 * MEBIBYTE, ge=1024)
    """Largest request body of /predict/batch and of /v2's infer, which counts unpacked."""

    max_pixels: int = Field(default=40_000_000, ge=16)
    """Largest width x height of a picture, checked before it is decoded."""

    max_connections: int = Field(default=1024, ge=1)
    """Most connections that a worker keeps open; the one that has been idle for longest makes room."""

    max_in_flight: int = Field(default=128, ge=1)
    """Most pictures that a worker has taken on at a time; more are refused with 503."""

    max_bytes_in_flight: int = Field(default=256 * MEBIBYTE, ge=1024)
    """Most bytes of bodies that a worker holds at a time; more are refused with 503."""

    max_batch: int = Field(default=64, ge=1)
    """Most pictures in one batch, each of which takes a place of MAX_IN_FLIGHT."""

    read_timeout: float = Field(default=10.0, gt=0)
    """Seconds in which a request's head must have arrived, and then its body."""

    write_timeout: float = Field(default=10.0, gt=0)
    """Seconds in which a client must take some of its answer, 1 KiB for each; else it is cut off."""

    request_timeout: float = Field(default=10.0, gt=0)
    """Seconds in which a prediction must be made, the upload not counted."""

    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(default=(), repr=False)
    """Keys that let in, parted by commas, or entries as in API_KEYS_FILE. Both unset: everybody is let in."""

    api_keys_file: Path | None = None
    """File of keys' ids and SHA-256 digests, one a line: `python -m app keys new ID` makes one."""

    public_docs: bool = True
    """Whether /docs and /openapi.json are read without a key."""

    rate_limit: int | None = Field(default=None, ge=1, le=1_000_000)
    """Requests a minute for each key, else each address; every worker counts for itself. Unset: no limit."""

    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    """Addresses or networks of proxies whose X-Forwarded-For is believed, parted by commas. Unset: none."""

    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Web origins whose pages may call the service, parted by commas; * for all. Unset: none."""

    feedback_url: str | None = Field(default=None, repr=False)
    """Database of POST /feedback: sqlite:///FILE, or postgresql+psycopg://… Unset: nothing is kept."""

    feedback_max_bytes: int = Field(default=1024 * MEBIBYTE, ge=MEBIBYTE)
    """Most bytes of pictures in it, each counted as 1 KiB at least; then new ones are refused with 507."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log records that are written."""

    log_format: Literal["json", "text"] = "json"
    """One JSON object a line, or lines for people."""

    drain_delay: float = Field(default=0.0, ge=0)
    """Seconds to go on serving after SIGTERM, not ready any more, until load balancers have noticed."""

    graceful_timeout: int = Field(default=30, ge=1)
    """Seconds after that for requests in flight to end."""

    @field_validator("api_keys", "trusted_proxies", "cors_origins", mode="before")
    @classmethod
    def _part_at_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(origin.strip() for origin in value.split(",") if origin.strip())
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            ip_network(proxy)  # its error says what is wrong
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                msg = f"{origin!r} is no origin, as https://example.org or http://localhost:3000 are"
                raise ValueError(msg)
        return value

    @field_validator("max_bytes_in_flight")
    @classmethod
    def _holds_any_body(cls, value: int, info: ValidationInfo) -> int:
        for name in ("max_body_bytes", "max_batch_body_bytes"):
            largest = info.data.get(name, 0)
            if largest > value:
                msg = f"a body may have {largest} bytes, as {PREFIX}{name.upper()} says"
                raise ValueError(msg)
        return value

    @field_validator("feedback_url")
    @classmethod
    def _names_a_database(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                from app.feedback.store import checked  # noqa: PLC0415  an extra

                checked(value)
            except ModuleNotFoundError as error:
                msg = f"the extra 'feedback' is not installed ({error.name}): pip install {FEEDBACK_PACKAGES}"
                raise ValueError(msg) from None
        return value

    @field_validator("max_batch")
    @classmethod
    def _fits_in_flight(cls, value: int, info: ValidationInfo) -> int:
        places = info.data.get("max_in_flight", value)
        if value > places:
            msg = f"a batch takes a place for each picture, and DIGITS_MAX_IN_FLIGHT is {places}"
            raise ValueError(msg)
        return value


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: one or more are wrong.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("\n".join(_told(problem) for problem in error.errors())) from None


def _told(problem: ErrorDetails) -> str:
    """Say in one line which setting has which value, and what is allowed."""
    name = str(problem["loc"][0])
    field = Settings.model_fields[name]
    allowed = [
        f"{words} {getattr(bound, kind)}"
        for bound in field.metadata
        for kind, words in _BOUNDS.items()
        if hasattr(bound, kind)
    ]
    why = "; ".join([problem["msg"], *allowed])
    shown = problem["input"] if field.repr else "(not shown)"
    return f"{PREFIX}{name.upper()}={shown}: {why}. {field.description} Default: {field.default}."
