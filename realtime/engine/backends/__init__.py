"""Backends that run the network: one small protocol, one module per library.

A backend is created for one frame size and one map size, used by one thread at a time, and closed. For a
network with ``detail`` it also receives the frame's luma at full resolution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from br2focus.realtime.frame import Image, Values

Pending = Callable[[], Values]
Precision = Literal["fp32", "bf16", "int8"]


class Backend(Protocol):
    """Takes a frame (uint8 BGR H x W x 3) and returns the network's output, float32.

    The output is P(blurred), h x w at the network's size; with ``detail``, 3 planes of half that size (see
    `br2focus.models.fast_detail.DetailNet`).
    """

    name: str
    """Name for reports, such as "openvino bf16"."""

    depth: int
    """How many frames may be started before the first one is finished."""

    def start(self, image: Image) -> Pending:
        """Start one frame; calling the result waits for its map, which owns its memory."""

    def close(self) -> None:
        """Release all resources."""


def block_side(frame_size: tuple[int, int], size: tuple[int, int]) -> int:
    """Return the side of the blocks that a reduction to ``size`` (width, height) starts with; 1 for none."""
    (width, height), block = frame_size, min(frame_size[0] // size[0], frame_size[1] // size[1])
    return block if block > 1 and width % block == 0 and height % block == 0 else 1


def shrink(image: Image, size: tuple[int, int]) -> Image:
    """Downscale ``image`` to ``size`` (width, height) by area averaging; the same input for all CPU backends.

    A large reduction starts with whole blocks of pixels, for which OpenCV is several times faster.
    """
    width, height = image.shape[1], image.shape[0]
    block = block_side((width, height), size)
    if block > 1:
        whole = (width // block, height // block)
        image = np.asarray(cv2.resize(image, whole, interpolation=cv2.INTER_AREA), np.uint8)
    if (image.shape[1], image.shape[0]) == size:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def network_inputs(image: Image, size: tuple[int, int], *, detail: bool) -> list[NDArray[np.uint8]]:
    """Return the image at ``size`` (1 x h x w x 3) and, with ``detail``, the frame's luma (1 x H x W)."""
    inputs: list[NDArray[np.uint8]] = [np.ascontiguousarray(shrink(image, size))[None]]
    if detail:
        inputs.append(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)[None])
    return inputs
