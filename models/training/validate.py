"""Runs the network under training on whole pictures: the plain reference, without a fast engine."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from br2focus.models.br2net import BR2Net
from br2focus.models.checkpoint import ModelInfo
from br2focus.models.evaluation.masks import MaskedFolder, Pair
from br2focus.models.evaluation.metrics import measure, summarise
from br2focus.models.rlrm import resize
from br2focus.models.sizes import network_size

from .data import normalise


@torch.inference_mode()
def predict(net: BR2Net, image: NDArray[np.uint8], info: ModelInfo) -> NDArray[np.float32]:
    """Return P(blurred) of one BGR image at its own size; the reference for every faster engine."""
    height, width = image.shape[:2]
    size = network_size((width, height), info.size)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    device = next(net.parameters()).device
    x = normalise(small, info.scale)[None].to(device)
    if info.config.detail == "none":
        logits = net(x).fused
    else:
        luma = torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))[None].float().to(device)
        blur = net(x, [luma]).blur
        assert blur is not None
        logits = resize(blur.usual_logits(max(width, height)), (size[1], size[0]))
    p = torch.sigmoid(logits)[0, 0].float().cpu().numpy()
    return np.clip(cv2.resize(p, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)


def validate(
    net: BR2Net, info: ModelInfo, folder: MaskedFolder, pairs: Sequence[Pair]
) -> dict[str, float | None]:
    """Return the metrics of `br2focus.models.evaluation.metrics.summarise` over ``pairs``."""
    net.eval()
    scores = []
    for pair in pairs:
        sample = folder.read(pair)
        scores.append(measure(predict(net, sample.image, info), sample.mask, sample.valid))
    return summarise(scores)
