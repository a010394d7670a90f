"""`POST /explain`: one picture of one digit in; out comes the digit, and what decided."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request, Response

from ..digits.layers import Layer
from ..digits.occlusion import HeatMap, map_heat
from ..state import get_state
from ..wire.problems import Forbidden
from . import openapi, uploads
from .predict import ModelName
from .reader import DigitReader, PreparedPicture, build_predictions, encode_data_url
from .schemas import Explanation, LayerActivations
from .work import run_in_thread

router = APIRouter(tags=["predict"])


@router.post(
    "/explain",
    openapi_extra=openapi.PICTURE_BODY,
    response_model=Explanation,
    responses=openapi.describe_problems(*openapi.PICTURE_PROBLEMS, Forbidden),
)
async def explain(request: Request, model: ModelName = None) -> Response:
    """Read the digit in one picture, and tell which ink decided and what each layer of the network sees."""
    state = get_state(request)
    if not state.settings.explain:
        msg = "This service does not tell what decided (DIGITS_EXPLAIN=false). /predict reads the digit."
        raise Forbidden(msg)
    reader = DigitReader(request, state.catalogue.get(model))
    picture = await uploads.read_picture(request)
    with reader.hold_places(1):
        prepared = await reader.canonicalise(picture)
        work = partial(_explain, prepared, reader)
        explanation = await run_in_thread(work, request, stages=reader.stages)
    reader.count_predictions([explanation.prediction])
    return reader.respond(explanation)


def _explain(picture: PreparedPicture, reader: DigitReader) -> Explanation:
    scores = reader.classify([picture])
    (prediction,) = build_predictions([picture], scores, reader.describe_model(), view=True)
    with reader.stages.time_stage("infer"):
        heat_map = map_heat(reader.model.classifier, picture.canonical, prediction.digit)
    layer_reader = reader.state.catalogue.get_layer_reader(reader.model)
    with reader.stages.time_stage("infer"):
        layers = layer_reader.read(picture.canonical) if layer_reader else []
    return Explanation(
        prediction=prediction, heat_map=_round(heat_map), layers=[_describe_layer(layer) for layer in layers]
    )


def _round(heat_map: HeatMap) -> list[list[float]]:
    """Return the rows of a heat map with three decimals, which are more than a screen can show."""
    return [[round(value, 3) for value in row] for row in heat_map.tolist()]


def _describe_layer(layer: Layer) -> LayerActivations:
    return LayerActivations(
        name=layer.name,
        shape=list(layer.shape),
        columns=layer.columns,
        mosaic=encode_data_url(layer.mosaic),
    )
