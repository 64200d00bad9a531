"""Every kind of picture that Python programs hand round becomes the same uint8 BGR array."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from br2focus.realtime.sources.arrays import as_bgr

BGR = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
RGB = BGR[:, :, ::-1]
GRAY = cv2.cvtColor(BGR, cv2.COLOR_BGR2GRAY)
GRAY_3 = cv2.merge([GRAY] * 3)
ALPHA = np.full((6, 8, 1), 77, np.uint8)
PALETTE = Image.fromarray(RGB).quantize(16)


@pytest.mark.parametrize(
    ("picture", "rgb", "wanted"),
    [
        (BGR, False, BGR),
        (RGB, True, BGR),
        (np.concatenate([RGB, ALPHA], 2), True, BGR),
        (np.concatenate([BGR, ALPHA], 2), False, BGR),
        (GRAY, False, GRAY_3),
        (GRAY[:, :, None], True, GRAY_3),
        (cv2.UMat(BGR), False, BGR),
        (cv2.UMat(np.ascontiguousarray(RGB)), True, BGR),
        (BGR.astype(np.uint16) * 257, False, BGR),
        (GRAY.astype(np.uint16)[:, :, None] * 257, False, GRAY_3),
        ((BGR.astype(np.uint16) * 257)[:, ::-1], False, BGR[:, ::-1]),
        (RGB / 255, True, BGR),
        ((BGR / 255).astype(np.float32), False, BGR),
        (GRAY.astype(np.float16) / 255, False, GRAY_3),
        (np.where(BGR > 127, 1.3, -0.2), False, np.where(BGR > 127, 255, 0)),
        (torch.from_numpy(RGB.copy()), True, BGR),
        (torch.from_numpy(RGB.copy()).permute(2, 0, 1), True, BGR),
        (torch.from_numpy(BGR.copy()).permute(2, 0, 1).float() / 255, False, BGR),
        (torch.from_numpy(GRAY)[None].double() / 255, False, GRAY_3),
        ((torch.from_numpy(RGB.copy()) / 255).requires_grad_(), True, BGR),
        (Image.fromarray(RGB), False, BGR),
        (Image.fromarray(np.concatenate([RGB, ALPHA], 2)), False, BGR),
        (Image.fromarray(GRAY), False, GRAY_3),
        (Image.fromarray(np.dstack([GRAY, ALPHA])), False, GRAY_3),
        (Image.fromarray(np.dstack([GRAY, ALPHA * 0 + 255])).convert("La"), False, GRAY_3),
        (Image.fromarray(GRAY.astype(np.uint16) * 257), False, GRAY_3),
        (Image.fromarray(GRAY > 99), False, (GRAY_3 > 99) * 255),
        (PALETTE, False, np.asarray(PALETTE.convert("RGB"))[:, :, ::-1]),
        (Image.fromarray(RGB).convert("CMYK"), True, BGR),
    ],
)
def test_it_is_bgr(picture: object, rgb: bool, wanted: np.ndarray) -> None:
    found = as_bgr(picture, rgb=rgb)
    assert found.dtype == np.uint8 and found.flags.c_contiguous and found.flags.owndata
    assert np.array_equal(found, wanted)


def test_half_precision_of_a_tensor_is_read() -> None:
    found = as_bgr(torch.from_numpy(RGB.copy()).permute(2, 0, 1).bfloat16() / 255, rgb=True)
    assert np.abs(found.astype(int) - BGR).max() <= 1


def test_colour_spaces_of_pil_are_converted() -> None:
    found = as_bgr(Image.fromarray(RGB).convert("YCbCr"))
    assert np.abs(found.astype(int) - BGR).max() <= 3


@pytest.mark.parametrize(
    ("picture", "text"),
    [
        (np.zeros((4, 4, 2), np.uint8), "1, 3 or 4 channels, got 2"),
        (np.zeros((0, 4, 3), np.uint8), r"got \(0, 4, 3\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"got \(1, 4, 4, 3\)"),
        (np.zeros((4, 4, 3), np.int32), "got int32"),
        (np.zeros((4, 4), bool), "got bool"),
        (np.full((4, 4), 200.0), "from 0 to 1, got 200 to 200"),
        (np.full((4, 4), -9.0), "from 0 to 1, got -9 to -9"),
        (np.full((4, 4), np.nan), "got nan"),
        (torch.zeros((2, 3, 4, 4)), r"got \(2, 3, 4, 4\)"),
        (Image.fromarray(np.zeros((4, 4), np.int32)), "mode 'I'"),
        (Image.fromarray(np.zeros((4, 4), np.float32)), "mode 'F'"),
        (None, "got "),
        ("picture.png", "got "),
        ([[1, 2], [3]], "not a picture"),
    ],
)
def test_anything_else_is_refused_by_name(picture: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        as_bgr(picture)
