"""Evidence of blur at the sensor's own pixels, which is lost when a frame is downscaled for the network.

Short luma kernels run over the frame and over the frame at half size. The strength of their responses counts,
as mean and maximum in every cell: the spectrum of a cell shows how fine the picture is there, its total how
certain that is. The strongest responses of the whole picture show how fine it gets with this camera, lens and
compression::

    c = [mean_cell |K * Y|; max_cell |K * Y|] + e      T = mean over kernels of c
    D = ReLU(W [sqrt(c / T); T^(1/4)] + V [ln z; ln ratio])      z = power mean of c over the picture

``D`` is resized to half the network's input. BR2Net uses it in two places: it is added to every attended tap,
``A_t + C_t D``, and it refines the fused map once more.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .limits import MOST, SENSOR, SHARPEST, SOFT_SHARE, WIDTHS_SEEN
from .rlrm import Rlrm, Size, resize

KERNEL = 8  # side of a kernel in pixels
FREQUENCIES = (
    (0, 2),
    (2, 0),
    (0, 4),
    (4, 0),
    (0, 6),
    (6, 0),
    (2, 2),
    (5, 5),
)
OCTAVES = 2  # the frame, and the frame at half size
BLOCK = 8  # columns that the fast form takes at once; the remainder at the right is ignored
FLOOR = 0.5  # code values; weaker responses are noise
POWER = 4  # of the mean that represents the strongest responses


class Blur(NamedTuple):
    """The blur of a picture as a distribution: ln(radius) is logistic around ``log_radius``.

    Attributes:
        log_radius: ln of the blur radius in pixels of the frame, softness included; B x 1 x h x w.
        gain: the certainty, 1 / scale of the distribution, above 0; B x 1 x h x w.
        log_softness: ln of the radius of the sharpest detail that this camera can give; B.
    """

    log_radius: Tensor
    gain: Tensor
    log_softness: Tensor

    def logits(self, log_limit: Tensor) -> Tensor:
        """Return logits of P(radius > limit), B x 1 x h x w; ``log_limit`` broadcasts to that shape."""
        return self.gain * (self.log_radius - log_limit)

    def reference(self, width: Tensor) -> Tensor:
        """Return ln of the softness that a single picture is judged by, B; see `limits.softest`.

        This is the network's own estimate, or the sharpest radius that it sees if that is softer. The
        gradient flows through the estimate only.

        Args:
            width: of the frames in pixels, B.
        """
        radii = self.log_radius.detach().flatten(1).float()
        sharpest = torch.quantile(radii, SHARPEST / 100, dim=1)
        most = (width * MOST).clamp(min=SENSOR).log()
        return torch.minimum(torch.maximum(self.log_softness, sharpest), most)

    def usual_logits(self, width: float) -> Tensor:
        """Return logits at the usual limit of frames ``width`` pixels wide, each judged by itself."""
        widths = torch.full_like(self.log_softness, width)
        return self.logits(log_limit(self.reference(widths), widths)[:, None, None, None])


def log_limit(log_softness: Tensor, width: Tensor) -> Tensor:
    """Return ln of the largest blur radius, softness included, that counts as in focus; any one shape.

    The circle of confusion (see `limits.tolerance`) adds to the softness of the footage. Blurs add as
    squares.
    """
    softness = log_softness.exp()
    allowed = torch.maximum((width / WIDTHS_SEEN).clamp(min=SENSOR), SOFT_SHARE * softness)
    limit: Tensor = (softness.square() + allowed.square()).log() / 2
    return limit


def _cosines() -> Tensor:
    """Return the windowed cosines of `FREQUENCIES`, 8 x 1 x 8 x 8, each of norm 1."""
    place = torch.arange(KERNEL) + 0.5
    window = torch.sin(math.pi * place / KERNEL)
    waves = torch.stack([torch.cos(math.pi * f * place / KERNEL) * window for f in range(KERNEL)])
    kernels = torch.stack([torch.outer(waves[v], waves[u]) for v, u in FREQUENCIES])
    kernels = kernels - kernels.mean((1, 2), keepdim=True)
    norm: Tensor = kernels.square().sum((1, 2), keepdim=True).sqrt()
    return torch.div(kernels, norm)[:, None]


class Evidence(nn.Module):
    """Maps luma at the frame's size to ``channels`` planes, with one cell per `spacing_of` pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        count = (OCTAVES + 1) * len(FREQUENCIES)
        self.kernels = nn.Parameter(_cosines())
        self.mix = nn.Conv2d(count + 1, channels, 1)
        self.compare = nn.Linear(OCTAVES * len(FREQUENCIES) + 1, channels)
        self.act = nn.ReLU()

    def zero_mean(self) -> Tensor:
        """Return the kernels with zero mean: they ignore brightness."""
        return self.kernels - self.kernels.mean((2, 3), keepdim=True)

    def answers(self, luma: Tensor, spacing: int) -> tuple[list[Tensor], Tensor]:
        """Return the mean of ``|K * Y|`` in every cell for each octave, and its maximum for the first octave.

        All are B x 8 x h x w; those of the second octave may be one cell smaller.
        """
        kernels = self.zero_mean()
        block = min(BLOCK, spacing)
        luma = luma[..., : luma.shape[-1] // block * block]
        means, peak = [], luma
        for octave in range(OCTAVES):
            stride = min(4, max(1, spacing >> octave))
            cell = (spacing >> octave) // stride
            # No padding: an invented border would look like an edge. Cells shift by less than their size.
            answer = F.conv2d(luma, kernels, stride=stride).abs()
            # Only whole blocks of columns, as in the fast form.
            whole = max(1, (block >> octave) // stride)
            answer = answer[..., : answer.shape[-1] // whole * whole]
            means.append(cell_mean(answer, cell))
            if not octave:
                peak = cell_peak(answer, cell)
                luma = F.avg_pool2d(luma, 2)
        return means, peak

    def forward(self, luma: Tensor, spacing: int, log_ratio: Tensor) -> Tensor:
        """Map luma B x 1 x H x W in 0..255 to B x channels x H/spacing x W/spacing.

        Args:
            luma: of the frame.
            spacing: see `spacing_of`.
            log_ratio: ln of the frame's pixels per pixel of the network; B x 1.
        """
        means, peak = self.answers(luma, spacing)
        size = (means[0].shape[-2], means[0].shape[-1])
        cells = torch.cat([resize(each, size) for each in (*means, peak)], 1) + FLOOR
        total = cells.mean(1, keepdim=True)
        spectrum = torch.cat([(cells / total).sqrt(), total.sqrt().sqrt()], 1)
        strongest = torch.cat([_power_mean(mean) for mean in means], 1)
        compared = self.compare(torch.cat([strongest, log_ratio], 1))
        mixed: Tensor = self.mix(spectrum) + compared[:, :, None, None]
        shown: Tensor = self.act(mixed)
        return shown


def cell_mean(answer: Tensor, cell: int) -> Tensor:
    """Return the mean over cells of ``cell`` x ``cell``."""
    return F.avg_pool2d(answer, cell, ceil_mode=True) if cell > 1 else answer


def cell_peak(answer: Tensor, cell: int) -> Tensor:
    """Return the maximum over the same cells."""
    return F.max_pool2d(answer, cell, ceil_mode=True) if cell > 1 else answer


def _power_mean(mean: Tensor) -> Tensor:
    """Return ln of the power mean (`POWER`) over the picture, computed from cells of 4 x 4; B x C."""
    coarse = F.avg_pool2d(mean, 4, ceil_mode=True) + FLOOR
    power: Tensor = (coarse * (1 / 16)).pow(POWER).mean((2, 3)).log() / POWER
    return power


class Detail(nn.Module):
    """The parts that ``detail`` adds to `BR2Net`.

    Args:
        taps: channels of the attended taps, shallow first.
        channels: of the evidence.
        width: of the last refining unit.
    """

    def __init__(self, taps: list[int], channels: int = 16, width: int = 16) -> None:
        super().__init__()
        self.evidence = Evidence(channels)
        self.inject = nn.ModuleList(nn.Conv2d(channels, count, 1, bias=False) for count in taps)
        for conv in self.inject:
            nn.init.zeros_(conv.weight)  # type: ignore[arg-type]
        self.tap = nn.Conv2d(taps[0], 8, 1)
        # Outputs: logits at the radius that the network's input shows, ln radius, gain, softness, weights.
        self.refine = Rlrm(channels + 8, width, outputs=5)
        self.certainty = nn.Parameter(torch.ones(1))  # calibrates the overall gain

    def joined(self, number: int, feature: Tensor, detail: Tensor) -> Tensor:
        """Return tap ``number`` (from 0) plus the evidence ``detail``, at the tap's size."""
        size = (feature.shape[-2], feature.shape[-1])
        ratio = detail.shape[-1] // size[1]
        injected: Tensor = feature + self.inject[number](F.avg_pool2d(detail, ratio))
        return injected

    def blur(self, fused: Tensor, a1: Tensor, detail: Tensor, log_ratio: Tensor) -> Blur:
        """Refine the logits ``fused`` once more, with the first tap and the evidence.

        Args:
            fused: logits B x 1 x h x w of any size.
            a1: first attended tap.
            detail: evidence at half the network's input; the result has its size.
            log_ratio: B x 1.
        """
        size = (detail.shape[-2], detail.shape[-1])
        feature = torch.cat([detail, resize(self.tap(a1), size)], 1)
        refined = self.refine(resize(fused, size), feature)
        return distribution(refined, log_ratio, self.certainty)

    def at_half(self, luma: Tensor, spacing: int, log_ratio: Tensor, size: Size) -> Tensor:
        """Return the evidence at half of ``size`` (H, W of the network's input)."""
        return resize(self.evidence(luma, spacing, log_ratio), (size[0] // 2, size[1] // 2))


def distribution(refined: Tensor, log_ratio: Tensor, certainty: Tensor) -> Blur:
    """Turn the last refining unit's planes, B x 5 x h x w, into a `Blur`; ``certainty`` scales the gain."""
    logits, log_radius, gain, softness, where = refined.chunk(5, 1)
    offset = log_ratio[:, :, None, None]
    radius = offset + math.log(1.25) + logits / 3 + log_radius
    share = torch.softmax(where.flatten(1), 1)
    voted = (share * softness.flatten(1)).sum(1) - 0.2
    return Blur(radius, certainty * (F.softplus(gain + 3) + 0.2), voted)
