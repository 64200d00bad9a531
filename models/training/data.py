"""An endless, exactly repeatable stream of training batches.

Sample ``i`` depends on the seed and on ``i`` alone, so a run that resumes at iteration ``n`` sees the
same pictures as one that was never stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from br2focus.models.checkpoint import InputScale
from br2focus.models.evaluation.masks import MaskedFolder, Pair, Sample

from .augment import AugmentConfig, augment


class Batch(NamedTuple):
    """Images B x 3 x N x N (normalised RGB), masks and validity B x 1 x N x N in {0, 1}."""

    image: Tensor
    mask: Tensor
    valid: Tensor


def normalise(image: np.ndarray, scale: InputScale) -> Tensor:
    """uint8 BGR H x W x 3 -> float32 RGB 3 x H x W at the network's scale."""
    rgb = torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1])).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (scale.mean, scale.std))
    return (rgb - mean) / std


class TrainingSet(Dataset[Batch]):
    """Item ``i`` is the ``i``-th training crop of the run; each epoch is a new permutation."""

    def __init__(
        self, folder: MaskedFolder, pairs: Sequence[Pair], config: AugmentConfig,
        scale: InputScale, seed: int,
    ) -> None:  # fmt: skip
        self.samples: list[Sample] = [folder.read(pair) for pair in pairs]
        self.config, self.scale, self.seed = config, scale, seed

    def __getitem__(self, index: int) -> Batch:
        epoch, place = divmod(index, len(self.samples))
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.samples))
        rng = np.random.default_rng((self.seed, epoch, place))
        sample = augment(self.samples[order[place]], self.config, rng)
        mask, valid = (torch.from_numpy(np.ascontiguousarray(m))[None].float() for m in sample[1:])
        return Batch(normalise(sample.image, self.scale), mask, valid)


def batches(data: TrainingSet, size: int, first: int, last: int) -> Iterator[Batch]:
    """Batches ``first`` to ``last - 1`` of the run, made ahead in one worker process."""
    sampler = range(first * size, last * size)
    return iter(DataLoader(data, size, sampler=sampler, num_workers=1, prefetch_factor=4))
