"""An endless, exactly repeatable stream of training batches.

Sample ``i`` depends only on the seed and on ``i``, so a run resumed at iteration ``n`` sees the same pictures
as one that was never stopped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from br2focus.models.config import InputScale
from br2focus.models.evaluation.masks import Sample
from br2focus.models.rendering.optics import BLURRED, IGNORED
from br2focus.models.rendering.scenes import Scene, Scenes

from .augment import AugmentConfig, Crop, at_network_size, augment, develop, native_crop, shown
from .scenes import SceneStore


class Batch(NamedTuple):
    """Training crops; an item of `TrainingSet` has the same fields without B.

    Attributes:
        image: B x 3 x N x N, normalised RGB.
        mask, valid: B x 1 x N x N in {0, 1}.
        drawn: B x 1 x 1 x 1; 1 if a person drew the mask, 0 if the renderer made it.
        frames: luma uint8 1 x M x M of each crop at its frame's own pixels; empty without ``detail``.
        radius: B x 1 x N x N, blur radius beyond the softness in pixels of the frame, NaN if unknown.
        softness: B, of camera and codec as a blur radius in pixels of the frame, NaN if unknown.
        width: B, of the frames in pixels.
    """

    image: Tensor
    mask: Tensor
    valid: Tensor
    drawn: Tensor
    frames: tuple[Tensor, ...]
    radius: Tensor
    softness: Tensor
    width: Tensor


class Share(NamedTuple):
    """The part of every batch that this process trains on."""

    rank: int = 0
    processes: int = 1


ALL = Share()


def normalise(image: np.ndarray, scale: InputScale) -> Tensor:
    """Convert uint8 BGR H x W x 3 to float32 RGB 3 x H x W at the network's scale."""
    rgb = torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1])).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (scale.mean, scale.std))
    return (rgb - mean) / std


@dataclass(frozen=True)
class Material:
    """What training crops are made from.

    Attributes:
        samples: the training pairs.
        extras: further pairs, each list with its share of all crops.
        scenes: rendered scenes with their share, or None.
        native: scenes at a camera's own pixels with their share, or None.
    """

    samples: Sequence[Sample]
    extras: Sequence[tuple[float, Sequence[Sample]]] = ()
    scenes: tuple[float, Scenes] | None = None
    native: tuple[float, SceneStore] | None = None


class TrainingSet(Dataset[Batch]):
    """Item ``i`` is the ``i``-th training crop of the run; each epoch is a new permutation.

    Args:
        material: what crops are made from.
        config: how they are changed.
        scale: of the network's input.
        seed: determines the crops.
        long_side: long side of whole frames in the network, if crops come with the frame's own pixels
            (networks with ``detail``); None for crops alone.
    """

    def __init__(
        self,
        material: Material,
        config: AugmentConfig,
        scale: InputScale,
        seed: int,
        long_side: int | None = None,
    ) -> None:
        self.material, self.config, self.scale, self.seed = material, config, scale, seed
        self.long_side = long_side

    def __getitem__(self, index: int) -> Batch:
        crop, drawn = self._crop(index, np.random.default_rng((self.seed, 1, index)))
        mask, valid, radius = (
            torch.tensor(np.ascontiguousarray(m), dtype=torch.float32)[None]
            for m in (*crop.sample[1:], np.broadcast_to(crop.radius, crop.sample.mask.shape))
        )
        image = normalise(crop.sample.image, self.scale)
        frames = () if crop.luma is None else (torch.from_numpy(crop.luma)[None],)
        known = torch.tensor(crop.softness), torch.tensor(float(crop.width))
        return Batch(image, mask, valid, torch.full((1, 1, 1), float(drawn)), frames, radius, *known)

    def _crop(self, index: int, rng: np.random.Generator) -> tuple[Crop, bool]:
        """Return a crop, and whether a person drew its mask."""
        draw, material = rng.random(), self.material
        for share, samples in material.extras:
            if draw < share:
                return self._changed(samples[int(rng.integers(len(samples)))], rng), True
            draw -= share
        if material.native and draw < (share := material.native[0]):
            store = material.native[1]
            number = int(np.random.default_rng((self.seed, 2, index)).integers(len(store)))
            return shown(store[number], self.config, rng), False
        draw -= material.native[0] if material.native else 0
        if material.scenes and draw < material.scenes[0]:
            scene = develop(labelled(material.scenes[1].render(rng)), self.config, rng)
            whole = self.long_side
            return Crop(scene) if whole is None else at_network_size(scene, whole), False
        epoch, place = divmod(index, len(material.samples))
        order = np.random.default_rng((self.seed, 0, epoch)).permutation(len(material.samples))
        return self._changed(material.samples[order[place]], rng), True

    def _changed(self, sample: Sample, rng: np.random.Generator) -> Crop:
        if self.long_side is None:
            return Crop(augment(sample, self.config, rng))
        return native_crop(sample, self.config, self.long_side, rng)


def stacked(items: Sequence[Batch]) -> Batch:
    """Stack items into a batch; frames differ in size and stay separate."""
    fields = {
        name: torch.stack([getattr(item, name) for item in items])
        for name in Batch._fields
        if name != "frames"
    }
    return Batch(**fields, frames=tuple(frame for item in items for frame in item.frames))


def labelled(scene: Scene) -> Sample:
    """Turn a rendered scene into a training pair; pixels without a label are not valid."""
    return Sample(scene.image, scene.label == BLURRED, scene.label != IGNORED)


def batches(data: TrainingSet, size: int, first: int, last: int, share: Share = ALL) -> Iterator[Batch]:
    """Return batches ``first`` to ``last - 1`` of the run, prepared ahead in one worker process.

    With several processes, each gets its part of every batch, so that together they see the same crops.
    """
    own = size // share.processes
    # A forked worker does not have OpenCV's threads, and would wait for them.
    cv2.setNumThreads(1)
    sampler = [batch * size + share.rank * own + i for batch in range(first, last) for i in range(own)]
    return iter(
        DataLoader(
            data,
            own,
            sampler=sampler,
            num_workers=1,
            prefetch_factor=4,
            worker_init_fn=_leave_process_group,
            collate_fn=stacked,
        )
    )


def _leave_process_group(worker: int) -> None:
    # Ctrl-C and torchrun signal the whole process group: the trainer responds, and ends its worker.
    os.setpgrp()
