"""The label configs of docs/label-studio.md are filled by the service."""

from __future__ import annotations

from app.api.label_studio import label_config
from app.main import create_app
from app.settings import Settings
from tests.documents import find_blocks, find_table

PAGE = "docs/label-studio.md"


def test_the_label_configs_have_all_controls_that_can_be_filled() -> None:
    digits, numbers = (
        label_config.parse(block) for language, block in find_blocks(PAGE) if language == "xml"
    )
    (choices,) = digits.controls
    assert [choices.get_label(digit) for digit in (*range(10), None)] == [*map(str, range(10)), "none"]
    text, boxes = numbers.controls
    assert (text.kind, boxes.kind) == ("TextArea", "RectangleLabels")
    assert all(boxes.get_label(digit) for digit in range(10))


def test_the_table_of_routes_is_complete() -> None:
    paths = create_app(Settings(label_studio_url="http://localhost:8080")).openapi()["paths"]
    routes = {
        f"`{method.upper()} {path}`"
        for path, operations in paths.items()
        if path.startswith("/label-studio/")
        for method in operations
    }
    assert {row[0] for row in find_table(PAGE, "route", "what it does")} == routes
