"""How each network is trained, with the reason for every number."""

from __future__ import annotations

import dataclasses
import json
from typing import Final, Literal, TypeAlias

from training.errors import TrainingError

Schedule: TypeAlias = Literal["constant", "cosine"]
ShardKind: TypeAlias = Literal["strips", "documents"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far a training picture is distorted: every value but `bend` is drawn uniformly from ± its range.

    Wider ranges turn a 6 into a 9, a 1 into a 7 and a 4 into a 9; narrower ones teach no handwriting
    that MNIST lacks.
    """

    rotation: float = 10.0  # degrees; writers' slant differs by about that much
    shear: float = 0.15  # horizontal, as a tangent: upright to italic
    scale: float = 0.1  # relative, drawn separately for width and height
    shift: float = 2.0  # pixels; a stray mark moves the centre of mass that far
    bend: float = 0.6  # pixels, standard deviation of each knot of a 5x5 mesh: an unsteady hand
    stroke: float = 0.6  # share of a full 3x3 dilation (+) or erosion (-)

    def scale_by(self, share: float) -> Augmentation:
        """Return these ranges, each multiplied by `share`."""
        return Augmentation(**{name: share * width for name, width in dataclasses.asdict(self).items()})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenes:
    """How many scenes are drawn, and their share of a batch. The rest of a batch is augmented MNIST.

    Each scene is drawn once, and distorted slightly each time the network sees it.
    """

    photographs: int = 18_000
    scans: int = 16_000
    drawings: int = 22_000
    worn: int = 14_000  # damaged as by scanners, faxes and dirt
    boxed: int = 14_000
    no_digits: int = 60_000  # negative examples
    pieces: int = 14_000  # cut from numbers, correctly and incorrectly
    seed: int = 1  # of the drawing: networks trained with different seeds see the same scenes
    share: float = 0.34  # of a batch: digits in scenes
    share_no_digits: float = 0.21  # of a batch: negative examples
    plain_epochs: int = 12  # at the start, MNIST alone: what a digit is comes before what hides it
    bending: Augmentation = Augmentation(
        rotation=5.0, shear=0.08, scale=0.05, shift=1.0, bend=0.4, stroke=0.3
    )  # half as much as MNIST: scenes are distorted when they are drawn


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what a network learns, besides the code and the data.

    The recipes below state what they cost on two cores of a shared x86-64 server in 2026, with TensorFlow
    2.21, and the accuracy of the committed model on MNIST's test set. Each figure is from one training.
    """

    name: str
    network: str  # a key of networks.NETWORKS
    version: str = "1.0.0"  # of the exported model
    epochs: int
    batch_size: int
    learning_rate: float
    schedule: Schedule = "constant"
    weight_decay: float = 0.0  # decoupled (AdamW); 0 is plain Adam
    dropout: float = 0.0  # of the hidden layer of a dense network; other networks set their own
    precision: Literal["float32", "mixed_bfloat16"] = "float32"  # while training; weights stay float32
    augmentation: Augmentation | None = None
    scenes: Scenes | None = None  # only for a network that also returns a digit likelihood
    seed: int = 1
    target: float  # accuracy on the test set; `evaluate` fails below it

    def to_json(self) -> str:
        """Return the recipe as one line of JSON, keys in the order of the fields."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        if fields["augmentation"] is not None:
            fields["augmentation"] = Augmentation(**fields["augmentation"])
        if fields["scenes"] is not None:
            scenes = fields["scenes"]
            fields["scenes"] = Scenes(**{**scenes, "bending": Augmentation(**scenes["bending"])})
        return cls(**fields)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FineTuning:
    """How a trained network is adapted to a user's own pictures; docs/train.md says how well that works."""

    name: str = "cnn-own"
    version: str = "1.0.0"
    own: int = 24  # the user's pictures in a batch: in a round, each of 200 is seen about five times
    rehearsed: int = 128  # MNIST pictures in a batch
    scribbles: int = 16  # negative examples in a batch
    steps: int = 40  # batches in a round
    rounds: int = 4
    head_rounds: int = 1  # first rounds, which train the last layer alone: its early errors spoil no other
    learning_rate: float = 0.001  # decays along a cosine once all layers learn
    share: float = 0.7  # of the way from the parent's weights to the learned ones
    folds: int = 4  # parts of the user's pictures; each is held out once
    augmentation: Augmentation = Augmentation()
    seed: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadingRecipe:
    """Everything that decides what the finder or the line reader learns, besides the code and the data.

    They learn from drawn strips and documents (`training.scenes.shards`), in epochs of a fixed number of
    batches: a checkpoint is written after each.
    """

    name: str
    network: str  # a key of train_reading.NETWORKS
    version: str = "1.0.0"  # of the exported model
    epochs: int
    steps_in_epoch: int  # about a minute of a core: no more is lost when a run is stopped
    shards: tuple[tuple[ShardKind, int], ...]  # kind and how many are drawn
    shards_in_epoch: tuple[tuple[ShardKind, int], ...]  # of which an epoch's batches are cut
    document_share: float = 0.0  # of the batches; the others are strips
    columns_in_batch: int = 6_400  # pixels: as many strips as are that wide together,
    strips_in_batch: tuple[int, int] = (12, 64)  # but so many, or a batch is too alike or too long
    documents_in_batch: int = 12  # as many pixels as a batch of strips
    learning_rate: float = 0.0025  # the largest that was tried; no run diverged
    warmup: int = 300  # steps: Adam's second moments are noise at first
    last_learning_rate: float = 0.02  # of the largest: the cosine's end, where averaging does the rest
    weight_decay: float = 1e-4
    clip_norm: float = 5.0  # of all gradients together: a strip of pure noise must not throw it off
    average: float = 0.999  # momentum of the averaged weights, which are what is exported
    precision: Literal["float32", "mixed_bfloat16"] = "mixed_bfloat16"  # while training
    seed: int = 1

    def to_json(self) -> str:
        """Return the recipe as one line of JSON, keys in the order of the fields."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ReadingRecipe:
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        for name in ("shards", "shards_in_epoch"):
            fields[name] = tuple((kind, count) for kind, count in fields[name])
        return cls(**{**fields, "strips_in_batch": tuple(fields["strips_in_batch"])})


# Keras' default learning rate for Adam, 0.001, suits the dense networks. They are the textbook examples, and
# serve as a comparison.

# half a minute, 92.50 %
LINEAR: Final = Recipe(
    name="linear",
    network="linear",
    epochs=5,
    batch_size=32,
    learning_rate=0.001,
    target=0.91,
)

# a minute and a quarter, 97.84 %
MLP_128: Final = Recipe(
    name="mlp-128",
    network="mlp_128",
    epochs=10,
    batch_size=32,
    learning_rate=0.001,
    target=0.975,
)

# a minute, 98.07 %
MLP_1000: Final = Recipe(
    name="mlp-1000",
    network="mlp_1000",
    epochs=5,
    batch_size=32,
    learning_rate=0.001,
    target=0.975,
)

# an hour, a tenth of which draws the scenes; 99.64 %, and 99.65 ± 0.02 % over three seeds, of which this one
# made the fewest errors on the validation pictures
CNN: Final = Recipe(
    name="cnn",
    version="3.0.0",
    network="cnn",
    epochs=60,
    batch_size=128,
    learning_rate=0.003,
    schedule="cosine",
    weight_decay=0.05,
    augmentation=Augmentation(),
    scenes=Scenes(),
    seed=2,
    target=0.996,
)

# Every strip is seen six times, bent anew, in about two hours of one core.
LINE_READER: Final = ReadingRecipe(
    name="line-reader",
    network="line_reader",
    version="1.1.0",
    epochs=120,
    steps_in_epoch=200,
    shards=(("strips", 80),),
    shards_in_epoch=(("strips", 4),),
    learning_rate=0.0015,  # with 0.0025, one run of two went astray in its eighteenth epoch
)

# It learns touching characters from strips, and what is not a digit from documents. An hour of one core.
FINDER: Final = ReadingRecipe(
    name="finder",
    network="finder",
    epochs=120,
    steps_in_epoch=160,
    shards=(("strips", 80), ("documents", 56)),
    shards_in_epoch=(("strips", 2), ("documents", 2)),
    document_share=0.5,
    columns_in_batch=5_600,
    strips_in_batch=(6, 64),
)

READING_RECIPES: Final = {recipe.name: recipe for recipe in (FINDER, LINE_READER)}

RECIPES: Final = {recipe.name: recipe for recipe in (LINEAR, MLP_128, MLP_1000, CNN)}


def find_recipe(name: str) -> Recipe:
    """Return the recipe with this name."""
    if name not in RECIPES:
        msg = f"There is no network {name!r}: choose one of {', '.join(RECIPES)}."
        raise TrainingError(msg)
    return RECIPES[name]
