from __future__ import annotations

import dataclasses
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

from app.digits.contract import CHARACTERS, CONTRACT_VERSIONS, Metadata
from tests.training.readers import QUICK_FINDER, QUICK_READER
from tests.training.runs import TRAINS
from training.errors import ExportError
from training.export import reading_to_onnx
from training.learn.runs import Origin, ReadingRun
from training.learn.train_reading import NETWORKS
from training.recipe import ReadingRecipe
from training.scenes.shards import Shelves

pytestmark = TRAINS
MAX_FINDER_BYTES = 2_500_000


def origin_of(recipe: ReadingRecipe) -> Origin[ReadingRecipe]:
    return Origin(recipe=recipe, data_sha256="abc", commit="def")


def build(recipe: ReadingRecipe) -> keras.Model:
    keras.utils.set_random_seed(0)
    return NETWORKS[recipe.network]()


@pytest.mark.parametrize("recipe", [QUICK_READER, QUICK_FINDER])
def test_the_file_says_what_it_is_and_answers_as_keras_does(recipe: ReadingRecipe) -> None:
    model = build(recipe)
    onnx_bytes = reading_to_onnx.convert(model, origin_of(recipe))
    reading_to_onnx.verify_equal(model, onnx_bytes)
    proto = onnx.load_from_string(onnx_bytes)
    metadata = {member.key: member.value for member in proto.metadata_props}
    assert metadata[Metadata.KIND] == metadata[Metadata.NAME] == recipe.name
    assert metadata[Metadata.CHARACTERS] == CHARACTERS
    assert metadata[Metadata.CONTRACT_VERSION] == str(CONTRACT_VERSIONS[recipe.name])
    assert ReadingRecipe.from_json(metadata[Metadata.RECIPE]) == recipe
    assert metadata[Metadata.DATA_SHA256] == "abc"
    shapes = reading_to_onnx.SHAPES[recipe.network]
    for value in (*proto.graph.input, *proto.graph.output):
        dimensions = value.type.tensor_type.shape.dim
        assert tuple(one.dim_param or one.dim_value for one in dimensions) == shapes[value.name]


def test_the_finders_file_is_as_small_as_promised() -> None:
    assert len(reading_to_onnx.convert(build(QUICK_FINDER), origin_of(QUICK_FINDER))) <= MAX_FINDER_BYTES


def test_another_network_is_told_apart() -> None:
    onnx_bytes = reading_to_onnx.convert(build(QUICK_READER), origin_of(QUICK_READER))
    keras.utils.set_random_seed(1)
    with pytest.raises(ExportError, match="differs from Keras by"):
        reading_to_onnx.verify_equal(NETWORKS["line_reader"](), onnx_bytes)


def test_a_run_is_exported_once_it_has_ended(shelves: Shelves, tmp_path: Path) -> None:
    run = ReadingRun(tmp_path / "run")
    run.start(origin_of(QUICK_READER))
    with pytest.raises(ExportError, match=r"has not ended: .*train line-reader"):
        reading_to_onnx.export(run, shelves, models=tmp_path / "models")
    model = build(QUICK_READER)
    model.save(run.model)
    file = reading_to_onnx.export(run, shelves, models=tmp_path / "models")
    assert file == tmp_path / "models" / "line-reader" / "model.onnx"
    strip = np.random.default_rng(0).integers(0, 255, (1, 32, 64, 1)).astype(np.uint8)
    logits = reading_to_onnx.run_onnx(file.read_bytes(), strip)["logits"]
    assert logits == pytest.approx(np.array(model(strip)), abs=0.2)  # in eight bits


def test_eight_bits_are_taken_where_nothing_is_read_worse(shelves: Shelves) -> None:
    plain = reading_to_onnx.convert(build(QUICK_FINDER), origin_of(QUICK_FINDER))
    rounded = reading_to_onnx.quantise_if_as_good(plain, QUICK_FINDER, shelves)
    assert len(rounded) < len(plain) / 2  # an untrained finder finds nothing, which nothing makes worse
    metadata = {member.key: member.value for member in onnx.load_from_string(rounded).metadata_props}
    assert metadata[Metadata.VERSION] == f"{QUICK_FINDER.version}+int8"
    assert metadata[Metadata.KIND] == "finder"


def test_recipes_survive_being_written_down() -> None:
    for recipe in (QUICK_READER, QUICK_FINDER):
        assert ReadingRecipe.from_json(recipe.to_json()) == recipe
        assert dataclasses.replace(recipe, seed=2) != recipe
