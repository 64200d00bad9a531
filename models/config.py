"""Which network, and how its input is scaled: plain data, readable without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

ATTENTIONS = ("none", "se", "bam", "cbam")
BACKBONES = (
    "resnext50_32x4d",
    "resnext101_32x4d",
    "vgg16",
    "mobilenet_v2",
    "efficientnet_lite0",
    "efficientnet_lite2",
)
FUSIONS = ("l2h", "h2l", "mean", "conv")
MAX_WIDTH = 4096  # a header must not be able to request all memory


@dataclass(frozen=True)
class BR2NetConfig:
    """Configuration of a BR2Net: the defaults are the paper's, other values the ablation and the light forms.

    Attributes:
        backbone: one of `BACKBONES`.
        attention: the block on every tap; "se" is the paper's CAM.
        rlrm: whether a refinement is added to the map (True) or replaces it (False).
        fusion: how the two pathways become one map.
        width: channels inside every RLRM.
        reduce: channels to which a 1x1 convolution reduces every tap, or None to keep them.
        h2l_tap: the H2L pathway runs at the size of this tap (5 in the paper).
        h2l_shrink: how larger features get to that size; "area" includes the low-pass filter that
            "bilinear" (the paper) lacks.
        detail: "learned" adds evidence measured at the frame's own pixels (see `br2focus.models.detail`)
            and returns blur radii; "none" is the network alone.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # an unknown key is an error

    backbone: str = "resnext50_32x4d"
    attention: Literal["none", "se", "bam", "cbam"] = "se"
    rlrm: bool = True
    fusion: Literal["l2h", "h2l", "mean", "conv"] = "conv"
    width: int = 128
    reduce: int | None = None
    h2l_tap: int = 5
    h2l_shrink: Literal["bilinear", "area"] = "bilinear"
    detail: Literal["none", "learned"] = "none"

    def __post_init__(self) -> None:
        allowed = {
            "backbone": BACKBONES,
            "attention": ATTENTIONS,
            "rlrm": (True, False),
            "fusion": FUSIONS,
            "h2l_tap": (1, 2, 3, 4, 5),
            "h2l_shrink": ("bilinear", "area"),
            "detail": ("none", "learned"),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} = {getattr(self, name)!r} is not one of {values}")
        for name, number in (("width", self.width), ("reduce", self.reduce)):
            optional = name == "reduce" and number is None
            if not optional and not (isinstance(number, int) and 1 <= number <= MAX_WIDTH):
                raise ValueError(f"{name} = {number!r} is not a whole number from 1 to {MAX_WIDTH}")


@dataclass(frozen=True)
class InputScale:
    """Normalisation of the network's input: RGB, (value / 255 - mean) / std per channel."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # an unknown key is an error

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.std) != 3 or not min(self.std) > 0:
            raise ValueError(f"{self} needs three means and three standard deviations above 0")
