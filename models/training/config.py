"""The settings of a training run, read strictly from TOML."""

from __future__ import annotations

import json
import tomllib
from dataclasses import field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from br2focus.models.br2net import BR2NetConfig
from br2focus.models.checkpoint import InputScale

from .augment import AugmentConfig

STRICT = ConfigDict(extra="forbid")
PositiveRate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """The training folder; the last ``validation`` names, spread evenly, are held back.

    Attributes:
        images, masks: folders, relative to the data root given on the command line.
        polarity: what white means in the masks.
        ignore: gray value without a label, or None.
        names: list of stems, or None for all.
        validation: how many pairs are held back for validation.
        description: what the model card and the header say of the data.
    """

    images: Path
    masks: Path
    polarity: Literal["blurred", "focused"]
    ignore: int | None = None
    names: Path | None = None
    validation: NonNegativeInt = 60
    description: str = ""


@dataclass(frozen=True, config=STRICT)
class OptimiserConfig:
    """The optimiser and its schedule.

    Attributes:
        kind: AdamW (decoupled decay) or SGD with momentum .9.
        lr, backbone_lr: peak learning rates of the new layers and of the backbone.
        bias_lr: factor on the rate of biases (2 in the paper); biases and norms get no decay.
        decay: weight decay of convolution weights.
        schedule: "cosine" to 0, or "poly" (power .9).
        warmup: iterations of linear warm-up.
        clip: largest norm of the gradient, 0 = off.
    """

    kind: Literal["adamw", "sgd"] = "adamw"
    lr: PositiveRate = 1e-3
    backbone_lr: NonNegative = 2e-4
    bias_lr: NonNegative = 1.0
    decay: NonNegative = 1e-2
    schedule: Literal["cosine", "poly"] = "cosine"
    warmup: NonNegativeInt = 200
    clip: NonNegative = 0.0


@dataclass(frozen=True, config=STRICT)
class TrainingConfig:
    """One training run.

    Attributes:
        name: name of the model in its header and in reports.
        iterations, batch: length of the run and pictures in a batch.
        seed: everything random follows from it.
        bf16: autocast to bfloat16 where the CPU or GPU has it.
        ema: decay of the moving average of the weights, 0 = off.
        validate_every, save_every: iterations between validations and between saved states.
        size: long side for validation and the model's default.
        backbone_start: safetensors with torchvision's names, relative to the data root, or None.
    """

    name: str
    data: DataConfig
    network: BR2NetConfig
    iterations: PositiveInt
    batch: PositiveInt = 8
    seed: NonNegativeInt = 0
    bf16: bool = True
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    validate_every: PositiveInt = 500
    save_every: PositiveInt = 250
    size: PositiveInt = 320
    backbone_start: Path | None = None
    scale: InputScale = field(default_factory=InputScale)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)


def read_config(path: Path) -> TrainingConfig:
    """Read a training configuration.

    Raises:
        OSError: the file cannot be read.
        ValueError: not TOML, an unknown key, or a value of the wrong kind; the text names each place.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        # JSON's strict form knows arrays for tuples and strings for paths, and nothing else is converted.
        text = json.dumps(values, default=str)
        return TypeAdapter(TrainingConfig).validate_json(text, strict=True)
    except ValidationError as error:
        places = "; ".join(_say(e["loc"], e["type"], e["msg"]) for e in error.errors())
        raise ValueError(f"{path}: {places}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a TOML file ({error})") from error


def _say(place: tuple[int | str, ...], kind: str, message: str) -> str:
    name = ".".join(map(str, place))
    if kind == "unexpected_keyword_argument":
        return f"{name}: unknown key, the known ones are {', '.join(_keys_beside(place))}"
    return f"{name}: {message}"


def _keys_beside(place: tuple[int | str, ...]) -> list[str]:
    """Names of the settings in the table that ``place`` lies in."""
    table: Any = TrainingConfig
    for part in place[:-1]:
        table = get_type_hints(table)[str(part)]
    return [f.name for f in fields(table)]
