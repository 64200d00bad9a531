"""The settings of a training run, read strictly from TOML."""

from __future__ import annotations

import json
import tomllib
from dataclasses import field, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from br2focus.models.config import BR2NetConfig, InputScale
from br2focus.models.paths import AnyPath
from br2focus.models.rendering.native import NativeMix
from br2focus.models.rendering.scenes import SceneMix

from .augment import AugmentConfig

STRICT = ConfigDict(extra="forbid")
PositiveRate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
# Settings that a run may change when it resumes: names, descriptions, how often and at which size it is
# validated, and what is done with its result.
INCIDENTAL = (
    "name",
    "size",
    "keep",
    "validate_every",
    "save_every",
    "data.description",
    "native.folder",
)


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """The training folder, from which ``validation`` pairs, evenly spread by name, are held back.

    Attributes:
        images, masks: folders, relative to the data root given on the command line.
        polarity: meaning of white in the masks.
        ignore: gray value of pixels without a label, or None.
        names: list of stems to use, or None for all.
        validation: number of pairs held back for validation.
        description: description of the data for the model card and the header.
    """

    images: Path
    masks: Path
    polarity: Literal["blurred", "focused"]
    ignore: int | None = None
    names: Path | None = None
    validation: NonNegativeInt = 60
    description: str = ""


@dataclass(frozen=True, config=STRICT)
class ExtraConfig:
    """Further pairs, mixed in; their labels may be noisy.

    Attributes:
        images, masks, polarity, ignore, names: as in `DataConfig`.
        only: pattern of the stems to use, such as "motion*".
        leave_out: list; the first word of each line is a stem to skip.
        share: of all training crops.
        agree: a checkpoint by name or path. Pixels whose label it firmly contradicts (P beyond .8 on the
            other side) are ignored, and so is a pair of which it contradicts more than a third.
    """

    images: Path
    masks: Path
    polarity: Literal["blurred", "focused"]
    share: Share
    ignore: int | None = None
    names: Path | None = None
    only: str = "*"
    leave_out: Path | None = None
    agree: str | None = None


@dataclass(frozen=True, config=STRICT)
class RenderedConfig:
    """Scenes rendered on the fly (`br2focus.models.rendering.scenes`).

    Attributes:
        share: of all training crops.
        photos: list of photographs that are in focus everywhere; the list is next to the configuration, and
            its lines are relative to the data root.
        mattes: folder with ``images`` and ``masks`` (255 = the object), relative to the data root.
        mix: how often each kind of scene occurs.
    """

    share: Share
    photos: Path
    mattes: Path | None = None
    mix: SceneMix = field(default_factory=SceneMix)


@dataclass(frozen=True, config=STRICT)
class NativeConfig:
    """Scenes at a camera's own pixels (`br2focus.models.rendering.native`), for networks with ``detail``.

    Attributes:
        share: of all training crops.
        count: number of scenes; each is shown repeatedly with other noise and colours.
        photos: list of photographs that are in focus everywhere; the list is next to the configuration, and
            its lines are relative to the data root.
        mattes: folder with ``images`` and ``masks`` (255 = the object), relative to the data root.
        folder: where rendered scenes are kept.
        mix: how often each kind of scene occurs.
    """

    share: Share
    count: PositiveInt
    photos: Path
    mattes: Path | None = None
    folder: Path = Path("runs/scenes")
    mix: NativeMix = field(default_factory=NativeMix)


@dataclass(frozen=True, config=STRICT)
class LossConfig:
    """Weights of the loss: the paper's (eleven mean BCE terms) and what is added to it.

    Attributes:
        iou: soft intersection over union of the fused map, averaged over both classes.
        edge: BCE of the fused map once more, within a band around the mask's edge.
        side: weight of the paper's eleven terms.
        blur: with ``detail``, BCE of P(radius > limit) at the usual limit.
        radius: with ``detail``, the error of ln radius and of P at random limits, where the radius is known.
        softness: with ``detail``, the error of ln softness, where it is known.
        teacher: a checkpoint by name or path whose P is a second, soft mask; None = off.
        distil: share of the soft mask in the target of every map, 0 to 1; rendered masks stay exact.
        teacher_gain: factor on the teacher's logits; above 1 if the teacher is less certain than it is right.
    """

    iou: NonNegative = 0.0
    edge: NonNegative = 0.0
    side: NonNegative = 1.0
    blur: NonNegative = 2.0
    radius: NonNegative = 1.0
    softness: NonNegative = 0.2
    teacher: str | None = None
    distil: Share = 0.5
    teacher_gain: PositiveRate = 1.0


@dataclass(frozen=True, config=STRICT)
class OptimiserConfig:
    """The optimiser and its schedule.

    Attributes:
        kind: AdamW (decoupled weight decay) or SGD with momentum .9.
        lr, backbone_lr: peak learning rates of the new layers and of the backbone.
        bias_lr: factor on the learning rate of biases (2 in the paper); biases and norms do not decay.
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
    """The settings of one training run.

    Attributes:
        name: name of the model in its header and in reports.
        iterations, batch: length of the run, and pictures per batch.
        seed: determines everything random.
        bf16: autocast to bfloat16 if the CPU or GPU supports it.
        ema: decay of the moving average of the weights, 0 = off.
        validate_every, save_every: iterations between validations and between saved states.
        size: long side for validation, and the model's default.
        backbone_start: safetensors file with the published names (see `br2focus.models.backbones`), relative
            to the data root, or None.
        start: a checkpoint of the same network, by name or path, to continue from, or None.
        keep: share of the weights of ``start`` in the result. A mix often does better on new data than either
            end (Wortsman et al., CVPR 2022). Chosen on validation when the run is over.
        extra: further pairs with their shares.
        rendered: rendered scenes with their share, or None.
        native: scenes at a camera's own pixels with their share, or None; only with ``detail``.
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
    start: str | None = None
    keep: Share = 0.0
    extra: tuple[ExtraConfig, ...] = ()
    rendered: RenderedConfig | None = None
    native: NativeConfig | None = None
    loss: LossConfig = field(default_factory=LossConfig)
    scale: InputScale = field(default_factory=InputScale)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)

    def __post_init__(self) -> None:
        shares = [each.share for each in (*self.extra, self.rendered, self.native) if each]
        if self.native and self.network.detail == "none":
            raise ValueError('native scenes are for a network with detail = "learned"')
        if self.keep and not self.start:
            raise ValueError("keep is a share of the weights of start, which is not given")
        if sum(shares) > 1 + 1e-9:
            raise ValueError(f"the shares of extra, rendered and native are {sum(shares):g} together, over 1")


def identity_settings(config: TrainingConfig) -> dict[str, Any]:
    """Return every setting that the weights depend on, as dotted keys and JSON values.

    Files are identified by their names in the configuration, not by their contents; for checkpoints, the
    trainer adds the hash. The list of photographs is identified by its file name alone, since its folder
    depends on where the program was started.
    """
    values = TypeAdapter(TrainingConfig).dump_python(config, mode="json")
    for table in ("rendered", "native"):
        if values[table]:
            values[table]["photos"] = getattr(config, table).photos.name
    return {key: value for key, value in _flat(values).items() if key not in INCIDENTAL}


def _flat(table: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {before + key: value}
    return found


def read_config(path: AnyPath) -> TrainingConfig:
    """Read a training configuration.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not TOML, or has an unknown key or a value of the wrong kind; the text names each
            place.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        # Strict JSON accepts arrays for tuples and strings for paths, and converts nothing else.
        text = json.dumps(values, default=str)
        config = TypeAdapter(TrainingConfig).validate_json(text, strict=True)
        return with_photos_beside(config, path)
    except ValidationError as error:
        places = "; ".join(_problem(e["loc"], e["type"], e["msg"]) for e in error.errors())
        raise ValueError(f"{path}: {places}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a TOML file ({error})") from error


def with_photos_beside(config: TrainingConfig, path: Path) -> TrainingConfig:
    """Return ``config`` with its list of photographs next to the file ``path``, as configurations have it."""
    for table in ("rendered", "native"):
        if scenes := getattr(config, table):
            moved = replace(scenes, photos=path.parent / scenes.photos)
            config = replace(config, **{table: moved})
    return config


def _problem(place: tuple[int | str, ...], kind: str, message: str) -> str:
    name = ".".join(map(str, place)) or "the whole"
    if kind == "unexpected_keyword_argument":
        return f"{name}: unknown key, the known ones are {', '.join(_known_keys(place))}"
    return f"{name}: {message}"


def _known_keys(place: tuple[int | str, ...]) -> list[str]:
    """Return the names of the settings in the table that contains ``place``."""
    table: Any = TrainingConfig
    for part in place[:-1]:
        if isinstance(part, str):  # a number is an index into several tables of one name
            annotation = get_type_hints(table)[part]  # Table, Table | None or tuple[Table, ...]
            table = next(t for t in (annotation, *get_args(annotation)) if is_dataclass(t))
    return [f.name for f in fields(table)]
