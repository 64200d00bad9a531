"""The losses against plain formulas, and pixels without a label that contribute nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from br2focus.models.br2net import Maps
from br2focus.models.training.config import LossConfig
from br2focus.models.training.losses import EDGE_BAND, edge_loss, iou_loss, side_loss, total_loss

Values = NDArray[np.float64]


def some_maps(scale: float = 3.0) -> Maps:
    torch.manual_seed(4)
    eleven = [scale * torch.randn(2, 1, 9, 7) for _ in range(11)]
    return Maps(eleven[:5], eleven[5:10], eleven[10])


def labels() -> tuple[Tensor, Tensor]:
    torch.manual_seed(5)
    return (torch.rand(2, 1, 9, 7) < 0.5).float(), (torch.rand(2, 1, 9, 7) < 0.7).float()


def edge_labels() -> tuple[Tensor, Tensor]:
    """A square in a corner of the first picture, nothing in the second; one label in five is missing."""
    torch.manual_seed(6)
    mask = torch.zeros(2, 1, 24, 30)
    mask[0, 0, 13:, 17:] = 1
    return mask, (torch.rand_like(mask) < 0.8).float()


def numbers(tensor: Tensor) -> Values:
    return tensor.detach().double().numpy()


def sigmoid(logits: Tensor) -> Values:
    return np.asarray(1 / (1 + np.exp(-numbers(logits))))


def bce(logits: Tensor, target: Tensor) -> Values:
    p, g = sigmoid(logits), numbers(target)
    return np.asarray(-(g * np.log(p) + (1 - g) * np.log(1 - p)))


# The sum of the eleven maps.


def test_the_loss_is_the_sum_of_eleven_plain_means() -> None:
    mask, _ = labels()
    expected = sum(bce(logits, mask).mean() for logits in some_maps().all())
    assert float(side_loss(some_maps(), mask, torch.ones_like(mask))) == pytest.approx(expected)


def test_ignored_pixels_contribute_nothing() -> None:
    mask, valid = labels()
    maps = some_maps()
    for m in maps.all():
        m.requires_grad_()
    loss = side_loss(maps, mask, valid)
    loss.backward()  # type: ignore[no-untyped-call]
    for m in maps.all():
        assert m.grad is not None
        assert not m.grad[valid == 0].any()
        assert m.grad[valid == 1].all()
    flipped = torch.where(valid == 1, mask, 1 - mask)
    with torch.no_grad():
        l2h, h2l = ([m + 50 * (1 - valid) for m in part] for part in (maps.l2h, maps.h2l))
        moved = Maps(l2h, h2l, maps.fused)
        assert float(side_loss(moved, flipped, valid)) == pytest.approx(float(loss))


def test_the_loss_is_a_mean_over_valid_pixels() -> None:
    mask, valid = labels()
    few = torch.zeros_like(valid)
    few[0, 0, 0, 0] = 1
    zeros = torch.zeros_like(mask)
    nothing = Maps([zeros] * 5, [zeros] * 5, zeros)
    for chosen in (valid, few):
        assert float(side_loss(nothing, mask, chosen)) == pytest.approx(11 * np.log(2))
    assert float(side_loss(some_maps(), mask, zeros)) == 0


# Intersection over union.


def plain_iou_loss(p: Values, target: Values, valid: Values) -> float:
    """Over each picture and class by itself; a class without a pixel costs nothing."""
    costs = []
    for picture in range(len(p)):
        for ours, theirs in ((p, target), (1 - p, 1 - target)):
            seen = valid[picture] == 1
            a, b = ours[picture][seen], theirs[picture][seen]
            present = (b > 0.5).any()
            costs.append(1 - (a * b).sum() / (a + b - a * b).sum() if present else 0.0)
    return float(np.mean(costs))


@pytest.mark.parametrize("soft", [False, True])
def test_iou_is_the_plain_formula_of_the_nearer_class(soft: bool) -> None:
    mask, valid = labels()
    target = 0.8 * mask + 0.1 if soft else mask
    logits = some_maps().fused
    expected = plain_iou_loss(sigmoid(logits), numbers(mask), numbers(valid))
    assert float(iou_loss(logits, target, valid)) == pytest.approx(expected, rel=1e-5)


def test_iou_knows_the_best_and_the_worst() -> None:
    mask, valid = labels()
    sure = 40 * (2 * mask - 1)
    assert float(iou_loss(sure, mask, valid)) == pytest.approx(0, abs=1e-6)
    assert float(iou_loss(-sure, mask, valid)) == pytest.approx(1, abs=1e-6)


def test_iou_leaves_out_a_class_that_a_picture_lacks() -> None:
    mask, valid = labels()
    mask = torch.cat([torch.zeros_like(mask[:1]), mask[1:]])
    logits = some_maps().fused
    expected = plain_iou_loss(sigmoid(logits), numbers(mask), numbers(valid))
    assert float(iou_loss(logits, mask, valid)) == pytest.approx(expected, rel=1e-5)
    in_focus = torch.full_like(mask, -40.0)
    in_focus[0, 0, 0, 0] = 40
    nothing = torch.zeros_like(mask)
    wrong = float(iou_loss(in_focus, nothing, torch.ones_like(mask)))
    assert wrong < 0.02, "one wrong pixel of a class that is not there"


# The band around edges.


def plain_band(target: Values, valid: Values) -> NDArray[np.bool_]:
    """Labelled pixels with both classes, as labelled, at most EDGE_BAND rows and columns away."""
    band = np.zeros(target.shape, np.bool_)
    for picture, _, y, x in np.ndindex(target.shape):
        top, left = max(y - EDGE_BAND, 0), max(x - EDGE_BAND, 0)
        around = picture, 0, slice(top, y + EDGE_BAND + 1), slice(left, x + EDGE_BAND + 1)
        near = target[around][valid[around] == 1] > 0.5
        band[picture, 0, y, x] = near.any() and not near.all()
    return band & (valid == 1)


@pytest.mark.parametrize("soft", [False, True])
def test_edge_is_the_mean_inside_the_band(soft: bool) -> None:
    mask, valid = edge_labels()
    target = 0.8 * mask + 0.1 if soft else mask
    torch.manual_seed(8)
    logits = 3 * torch.randn_like(mask)
    band = plain_band(numbers(target), numbers(valid))
    assert 0 < band.sum() < numbers(valid).sum() / 2
    expected = bce(logits, target)[band].mean()
    assert float(edge_loss(logits, target, valid)) == pytest.approx(expected, rel=1e-5)


def test_without_an_edge_there_is_no_edge_loss() -> None:
    mask, valid = edge_labels()
    logits = torch.randn_like(mask).requires_grad_()
    for target in (torch.zeros_like(mask), torch.ones_like(mask)):
        assert float(edge_loss(logits, target, valid).detach()) == 0


def test_what_has_no_label_makes_no_edge() -> None:
    target, valid = torch.ones(1, 1, 20, 20), torch.ones(1, 1, 20, 20)
    target[..., :6], valid[..., :6] = 0, 0
    assert float(edge_loss(torch.randn(1, 1, 20, 20), target, valid)) == 0


# Both, and all together.


@pytest.mark.parametrize("loss", [iou_loss, edge_loss])
def test_the_gradient_is_0_where_nothing_is_labelled(loss) -> None:  # type: ignore[no-untyped-def]
    mask, valid = edge_labels()
    torch.manual_seed(9)
    logits = torch.randn_like(mask).requires_grad_()
    loss(logits, mask, valid).backward()
    assert logits.grad is not None and logits.grad.isfinite().all()
    assert not logits.grad[valid == 0].any()
    counted = valid.bool()
    if loss is edge_loss:
        counted &= torch.from_numpy(plain_band(numbers(mask), numbers(valid)))
        assert not logits.grad[~counted].any()
    assert logits.grad[counted].all()


@pytest.mark.parametrize("loss", [iou_loss, edge_loss])
def test_without_a_label_the_loss_is_0_and_finite(loss) -> None:  # type: ignore[no-untyped-def]
    mask, valid = edge_labels()
    logits = torch.randn_like(mask).requires_grad_()
    value = loss(logits, mask, torch.zeros_like(valid))
    value.backward()
    assert float(value.detach()) == 0
    assert logits.grad is not None and not logits.grad.any()


def test_the_total_is_weighted() -> None:
    mask, valid = labels()
    maps = some_maps()
    side = float(side_loss(maps, mask, valid))
    iou, edge = (float(f(maps.fused, mask, valid)) for f in (iou_loss, edge_loss))
    for config, expected in (
        (LossConfig(), side),
        (LossConfig(iou=0.5), side + 0.5 * iou),
        (LossConfig(edge=2.0), side + 2 * edge),
        (LossConfig(iou=0.5, edge=2.0), side + 0.5 * iou + 2 * edge),
    ):
        assert float(total_loss(config, maps, mask, valid)) == pytest.approx(expected)
