"""The tools, and the server that offers them, whatever reads the pictures."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypeVar

from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)
from pydantic import ConfigDict, ValidationError

from ..api.json_body import describe_fault
from ..api.schemas import NumberPrediction, Prediction, RequestSchema
from ..digits.errors import DigitsError
from ..digits.formats.header import FORMAT_NAMES
from ..version import VERSION
from ..wire.problems import MAX_DETAIL, shorten

log = logging.getLogger("app")

DIGIT_TOOL: Final = "read_digit"
NUMBER_TOOL: Final = "read_number"
INSTRUCTIONS: Final = (
    f"Reads handwriting in pictures: photos, scans and drawings, in {FORMAT_NAMES}. "
    f"{DIGIT_TOOL} reads a single digit, {NUMBER_TOOL} a number of one or several digits, with its signs."
)
DEFECT: Final = "The picture could not be read, because of a defect; the log says more."

Answer: TypeAlias = Prediction | NumberPrediction
Context: TypeAlias = ServerRequestContext[Any, Any]


class ImageArguments(RequestSchema):
    """The picture that a tool reads."""

    model_config = ConfigDict(extra="forbid")

    image: str
    """The bytes of the picture's file in base64, or as a data: URL."""


Arguments = TypeVar("Arguments", bound=RequestSchema)


@dataclass(frozen=True, slots=True)
class Readers(Generic[Arguments]):
    """What reads the pictures: functions of a tool's arguments and of the HTTP request, if there is one."""

    arguments: type[Arguments]
    read_digit: Callable[[Arguments, Any], Awaitable[Prediction]]
    read_number: Callable[[Arguments, Any], Awaitable[NumberPrediction]]


def create_server(readers: Readers[Arguments]) -> Server[Any]:
    """Return a server that offers both tools."""
    tools = _describe_tools(readers.arguments)

    async def list_tools(_: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=tools)

    async def call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult:
        if params.name not in {tool.name for tool in tools}:
            raise MCPError(INVALID_PARAMS, f"There is no tool {params.name[:64]!r}.")
        try:
            return _build_result(await _read(readers, params, context.request))
        except ValidationError as error:
            return _build_error(f"The arguments can't be accepted: {describe_fault(error)}.")
        except DigitsError as error:
            return _build_error(shorten(error.detail, MAX_DETAIL))
        except Exception:  # the protocol's library would show the text of the defect
            log.exception("a tool failed")
            return _build_error(DEFECT)

    return Server(
        "digits",
        version=VERSION,
        title="Digits",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _describe_tools(arguments: type[RequestSchema]) -> list[Tool]:
    texts = {
        DIGIT_TOOL: ("Read a digit", "Read the most prominent handwritten digit in a picture."),
        NUMBER_TOOL: (
            "Read a number",
            "Read the handwritten number in a picture, in one or several lines, with signs such as 12,50.",
        ),
    }
    answers: dict[str, type[Answer]] = {DIGIT_TOOL: Prediction, NUMBER_TOOL: NumberPrediction}
    return [
        Tool(
            name=name,
            title=title,
            description=description,
            input_schema=arguments.model_json_schema(),
            output_schema=answers[name].model_json_schema(mode="serialization"),
            annotations=ToolAnnotations(
                read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
            ),
        )
        for name, (title, description) in texts.items()
    ]


async def _read(readers: Readers[Arguments], params: CallToolRequestParams, request: object) -> Answer:
    arguments = readers.arguments.model_validate(params.arguments or {})
    if params.name == DIGIT_TOOL:
        return await readers.read_digit(arguments, request)
    return await readers.read_number(arguments, request)


def _build_result(answer: Answer) -> CallToolResult:
    text = summarise_digit(answer) if isinstance(answer, Prediction) else summarise_number(answer)
    if answer.warnings:
        text += f" Warnings: {', '.join(answer.warnings)}."
    content = [TextContent(type="text", text=text)]
    return CallToolResult(content=list(content), structured_content=answer.model_dump(mode="json"))


def _build_error(detail: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=detail)], is_error=True)


def summarise_digit(prediction: Prediction) -> str:
    """Return a prediction as a sentence."""
    if prediction.is_digit:
        return f"The digit is {prediction.digit} (confidence {prediction.confidence:.3f})."
    return f"The picture probably shows no digit; the best guess is {prediction.digit}."


def summarise_number(prediction: NumberPrediction) -> str:
    """Return a prediction as a sentence."""
    if not prediction.text:
        return "No digits were found in the picture."
    lines = ", ".join(prediction.written.split("\n"))
    return f"The number is {lines} (confidence {prediction.confidence:.3f})."
