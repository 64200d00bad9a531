"""The network on two streams of a GPU: the refining of shallow features beside the computing of deep ones.

One picture leaves most of a GPU idle. The pathway from shallow to deep needs each feature as the backbone has
it, so all of that pathway but its last step runs meanwhile, and the last one beside the other pathway.
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
    """Calls ``net``: uint8 BGR B x H x W x 3 -> P(blurred), B x H x W; the sides are multiples of 32.

    Args:
        net: on its device; its parts are replaced by those of `use_gpu_forms`.
        compiled: let `torch.compile` make each step.
    """

    def __init__(self, net: InferenceNet, *, compiled: bool) -> None:
        use_gpu_forms(net, compiled=compiled)
        self._net, device = net, net.mean.device
        self._side: torch.cuda.Stream | None = None
        if device.type == "cuda":  # elsewhere one step follows the other
            self._side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

        def step(job: Callable[..., Any]) -> Callable[..., Any]:
            return torch.compile(job, dynamic=False) if compiled else job

        self._first, self._deeper = step(net.first), step(net.deeper)
        self._attended, self._l2h, self._joined = (
            step(net.attended),
            step(net.l2h),
            step(net.joined),
        )
        self._aside, self._h2l = step(self._shallow), step(self._to_shallow)

    def __call__(self, pictures: Tensor) -> Tensor:
        """Run the network (see the class) on the current stream."""
        tap = self._first(pictures)
        try:
            u, v = self._pathways(tap)
        except BaseException:
            with suppress(RuntimeError):
                self._waits_for_side()  # or a graph's recording would fail for that, and hide the reason
            raise
        found: Tensor = self._joined(u, v, (pictures.shape[1], pictures.shape[2]))
        return found

    def _pathways(self, tap: Tensor) -> tuple[Tensor, Tensor]:
        """The last maps of both pathways."""
        u: Any = None
        # What one stream made and the other reads is kept until they have met: its memory is used again then.
        taps, prepared = [tap], []
        for number in range(4):
            self._side_waits()
            with self._aside_now():
                u, entered = self._aside(number, u, tap)
            prepared.append(entered)
            tap = self._deeper(number + 1, tap)
            taps.append(tap)
        deepest = self._attended(4, tap)
        self._side_waits()
        self._waits_for_side()
        with self._aside_now():
            u = self._l2h(4, u, deepest)
        v = self._h2l(deepest, prepared)
        self._waits_for_side()
        return u, v

    def _shallow(self, number: int, u: Tensor | None, tap: Tensor) -> tuple[Tensor, Tensor]:
        """What tap ``number`` but the last gives: the next map, and what the other pathway takes of it."""
        net = self._net
        feature = net.attended(number, tap)
        height, width = (side * net.strides[number] // net.stride_v for side in feature.shape[-2:])
        unit = net.net.h2l[3 - number]
        assert isinstance(unit, Rlrm)
        entered = unit.enter_feature(net.net.shrink(feature, (height, width)))
        return net.l2h(number, u, feature), entered

    def _to_shallow(self, deepest: Tensor, prepared: list[Tensor]) -> Tensor:
        """The last map of the pathway from deep to shallow."""
        net = self._net.net
        v = net.shrink(net.h2l_start(deepest), (prepared[0].shape[-2], prepared[0].shape[-1]))
        for unit, entered in zip(net.h2l, reversed(prepared), strict=True):
            assert isinstance(unit, Rlrm)
            v = unit.leave(v, unit.enter_map(v) + entered)
        return v

    def _aside_now(self) -> AbstractContextManager[object]:
        return nullcontext() if self._side is None else torch.cuda.stream(self._side)

    def _side_waits(self) -> None:
        if self._side is not None:
            self._side.wait_stream(torch.cuda.current_stream(self._side.device))

    def _waits_for_side(self) -> None:
        if self._side is not None:
            torch.cuda.current_stream(self._side.device).wait_stream(self._side)
