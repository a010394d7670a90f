"""The requests that Label Studio 1.23.2 sends to an ML backend, as recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

DIGITS: Final = (
    '<View><Image name="image" value="$image"/><Choices name="digit" toName="image" choice="single">'
    + "".join(f'<Choice value="{label}"/>' for label in (*range(10), "none"))
    + "</Choices></View>"
)
NUMBERS: Final = (
    '<View><Image name="picture" value="$scan"/><RectangleLabels name="digits" toName="picture">'
    + "".join(f'<Label value="{digit}"/>' for digit in range(10))
    + '</RectangleLabels><TextArea name="number" toName="picture"/></View>'
)
TIMES: Final = {"created_at": "2026-11-29T04:27:21.808498Z", "updated_at": "2026-11-29T04:27:21.808572Z"}


def build_setup(label_config: str) -> dict[str, Any]:
    return {
        "project": "1.1795926441",
        "schema": label_config,
        "hostname": "http://localhost:8080",
        "access_token": "0123456789abcdef0123456789abcdef01234567",
        "extra_params": None,
    }


def build_task(number: int, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": number,
        "data": data,
        "meta": {},
        **TIMES,
        "is_labeled": False,
        "overlap": 1,
        "inner_id": number,
        "total_annotations": 0,
        "cancelled_annotations": 0,
        "total_predictions": 0,
        "comment_count": 0,
        "unresolved_comment_count": 0,
        "last_comment_updated_at": None,
        "project": 1,
        "updated_by": None,
        "file_upload": number,
        "comment_authors": [],
        "annotations": [],
        "predictions": [],
    }


def build_tasks(label_config: str, data: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "tasks": [build_task(number, member) for number, member in enumerate(data, 1)],
        "project": "1.1795926441",
        "label_config": label_config,
        "params": {"login": None, "password": None, "context": None},
    }


def build_choice(*labels: str) -> dict[str, Any]:
    return {"from_name": "digit", "to_name": "image", "type": "choices", "value": {"choices": list(labels)}}


def build_event(action: str, result: Sequence[dict[str, Any]], data: dict[str, Any]) -> dict[str, Any]:
    """Return what a webhook sends; most members of the project are left out."""
    annotation: dict[str, Any] = {
        "id": 1,
        "result": result,
        "was_cancelled": False,
        "ground_truth": False,
        **TIMES,
        "draft_created_at": None,
        "lead_time": 2.5,
        "prediction": {},
        "result_count": len(result),
        "unique_id": "ac4a8abb-ad1a-4f58-b78a-229d88380f3e",
        "task": 1,
        "project": 1,
        "completed_by": 1,
    }
    project = {
        "id": 1,
        "title": "digits",
        "label_config": DIGITS,
        "model_version": "digits",
        "sampling": "Uniform",
    }
    return {"action": action, "annotation": annotation, "project": project, "task": build_task(1, data)}
