"""An endless, exactly repeatable stream of training batches.

Sample ``i`` depends on the seed and on ``i`` alone, so a run that resumes at iteration ``n`` sees the
same pictures as one that was never stopped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from br2focus.models.config import InputScale
from br2focus.models.evaluation.masks import Sample
from br2focus.models.rendering.optics import BLURRED, IGNORED
from br2focus.models.rendering.scenes import Scene, Scenes

from .augment import AugmentConfig, augment, develop


class Batch(NamedTuple):
    """Images B x 3 x N x N (normalised RGB), masks and validity B x 1 x N x N in {0, 1}.

    ``drawn`` (B x 1 x 1 x 1) is 1 where a person drew the mask, 0 where the renderer knows it.
    """

    image: Tensor
    mask: Tensor
    valid: Tensor
    drawn: Tensor


class Share(NamedTuple):
    """Which part of every batch this process trains on."""

    rank: int = 0
    processes: int = 1


ALL = Share()


def normalise(image: np.ndarray, scale: InputScale) -> Tensor:
    """uint8 BGR H x W x 3 -> float32 RGB 3 x H x W at the network's scale."""
    rgb = torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1])).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (scale.mean, scale.std))
    return (rgb - mean) / std


@dataclass(frozen=True)
class Material:
    """What the training crops are made from.

    Attributes:
        samples: the training pairs.
        extras: further pairs, each list with its share of all crops.
        scenes: rendered scenes with their share, or None.
    """

    samples: Sequence[Sample]
    extras: Sequence[tuple[float, Sequence[Sample]]] = ()
    scenes: tuple[float, Scenes] | None = None


class TrainingSet(Dataset[Batch]):
    """Item ``i`` is the ``i``-th training crop of the run; each epoch is a new permutation."""

    def __init__(
        self, material: Material, config: AugmentConfig, scale: InputScale, seed: int
    ) -> None:
        self.material, self.config, self.scale, self.seed = material, config, scale, seed

    def __getitem__(self, index: int) -> Batch:
        sample, drawn = self._sample(index, np.random.default_rng((self.seed, 1, index)))
        mask, valid = (torch.from_numpy(np.ascontiguousarray(m))[None].float() for m in sample[1:])
        image = normalise(sample.image, self.scale)
        return Batch(image, mask, valid, torch.full((1, 1, 1), float(drawn)))

    def _sample(self, index: int, rng: np.random.Generator) -> tuple[Sample, bool]:
        """A crop, and whether a person drew its mask."""
        draw, material = rng.random(), self.material
        for share, samples in material.extras:
            if draw < share:
                return augment(samples[int(rng.integers(len(samples)))], self.config, rng), True
            draw -= share
        if material.scenes and draw < material.scenes[0]:
            return develop(labelled(material.scenes[1].render(rng)), self.config, rng), False
        epoch, place = divmod(index, len(material.samples))
        order = np.random.default_rng((self.seed, 0, epoch)).permutation(len(material.samples))
        return augment(material.samples[order[place]], self.config, rng), True


def labelled(scene: Scene) -> Sample:
    """A rendered scene as a training pair: pixels without a label are not valid."""
    return Sample(scene.image, scene.label == BLURRED, scene.label != IGNORED)


def batches(
    data: TrainingSet, size: int, first: int, last: int, share: Share = ALL
) -> Iterator[Batch]:
    """Batches ``first`` to ``last - 1`` of the run, made ahead in one worker process.

    With several processes each gets its part of every batch, so that together they see the same crops.
    """
    own = size // share.processes
    sampler = [
        batch * size + share.rank * own + i for batch in range(first, last) for i in range(own)
    ]
    return iter(
        DataLoader(
            data, own, sampler=sampler, num_workers=1, prefetch_factor=4, worker_init_fn=_set_apart
        )
    )


def _set_apart(worker: int) -> None:
    # Ctrl-C and torchrun signal the whole group of processes: the trainer answers, and ends its worker.
    os.setpgrp()
