"""Runs the network on two CUDA streams: shallow features are refined while deeper ones are computed.

A single image leaves most of a GPU idle. The shallow-to-deep pathway uses each feature as soon as the
backbone has computed it. All its steps but the last therefore run alongside the backbone, and the last one
alongside the other pathway.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor

from br2focus.models.fast import InferenceNet
from br2focus.models.gpu_forms import use_gpu_forms
from br2focus.models.rlrm import Rlrm


class TwoStreams:
    """Calls ``net``: uint8 BGR B x H x W x 3 -> P(blurred), B x H x W; sides must be multiples of 32.

    Args:
        net: on its device; its parts are replaced by those of `use_gpu_forms`.
        compiled: compile each step with `torch.compile`.
    """

    def __init__(self, net: InferenceNet, *, compiled: bool) -> None:
        use_gpu_forms(net, compiled=compiled)
        self._net, device = net, net.mean.device
        self._side: torch.cuda.Stream | None = None
        if device.type == "cuda":  # on other devices, the steps run one after the other
            self._side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

        def step(job: Callable[..., Any]) -> Callable[..., Any]:
            return torch.compile(job, dynamic=False) if compiled else job

        self._first, self._deeper = step(net.first), step(net.deeper)
        self._attended, self._l2h, self._joined = (
            step(net.attended),
            step(net.l2h),
            step(net.joined),
        )
        self._shallow_step, self._h2l = step(self._shallow), step(self._to_shallow)

    def __call__(self, pictures: Tensor) -> Tensor:
        """Run the network (see the class) on the current stream."""
        tap = self._first(pictures)
        try:
            u, v = self._pathways(tap)
        except BaseException:
            with suppress(RuntimeError):
                self._wait_for_side()  # otherwise a graph capture would fail as well and hide the cause
            raise
        found: Tensor = self._joined(u, v, (pictures.shape[1], pictures.shape[2]))
        return found

    def _pathways(self, tap: Tensor) -> tuple[Tensor, Tensor]:
        """Return the final maps of both pathways."""
        u: Any = None
        # Tensors made on one stream and read on the other are kept until the streams have synchronized, since
        # their memory could be reused from then on.
        taps, prepared = [tap], []
        for number in range(4):
            self._make_side_wait()
            with self._on_side_stream():
                u, entered = self._shallow_step(number, u, tap)
            prepared.append(entered)
            tap = self._deeper(number + 1, tap)
            taps.append(tap)
        deepest = self._attended(4, tap)
        self._make_side_wait()
        self._wait_for_side()
        with self._on_side_stream():
            u = self._l2h(4, u, deepest)
        v = self._h2l(deepest, prepared)
        self._wait_for_side()
        return u, v

    def _shallow(self, number: int, u: Tensor | None, tap: Tensor) -> tuple[Tensor, Tensor]:
        """Process tap ``number`` (not the last); return the next map and the input for the other pathway."""
        net = self._net
        feature = net.attended(number, tap)
        height, width = (side * net.strides[number] // net.stride_v for side in feature.shape[-2:])
        unit = net.net.h2l[3 - number]
        assert isinstance(unit, Rlrm)
        entered = unit.enter_feature(net.net.shrink(feature, (height, width)))
        return net.l2h(number, u, feature), entered

    def _to_shallow(self, deepest: Tensor, prepared: list[Tensor]) -> Tensor:
        """Return the final map of the deep-to-shallow pathway."""
        net = self._net.net
        v = net.shrink(net.h2l_start(deepest), (prepared[0].shape[-2], prepared[0].shape[-1]))
        for unit, entered in zip(net.h2l, reversed(prepared), strict=True):
            assert isinstance(unit, Rlrm)
            v = unit.leave(v, unit.enter_map(v) + entered)
        return v

    def _on_side_stream(self) -> AbstractContextManager[object]:
        return nullcontext() if self._side is None else torch.cuda.stream(self._side)

    def _make_side_wait(self) -> None:
        if self._side is not None:
            self._side.wait_stream(torch.cuda.current_stream(self._side.device))

    def _wait_for_side(self) -> None:
        if self._side is not None:
            torch.cuda.current_stream(self._side.device).wait_stream(self._side)
