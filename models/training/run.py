"""The training loop: eleven side losses, moving average, validation, exact resume."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from br2focus.models import checkpoint
from br2focus.models.br2net import BR2Net, Maps
from br2focus.models.checkpoint import ModelInfo
from br2focus.models.evaluation.masks import MaskedFolder, Pair
from br2focus.models.evaluation.metrics import measure, summarise
from br2focus.models.fast import network_size

from .config import DataConfig, OptimiserConfig, TrainingConfig
from .data import Batch, TrainingSet, batches, normalise
from .start import calibrate_batchnorm
from .state import load_state, save_state

Event = dict[str, Any]


def side_loss(maps: Maps, mask: Tensor, valid: Tensor) -> Tensor:
    """Sum over the eleven maps of the mean BCE with logits over valid pixels (the paper's loss)."""
    total = valid.sum().clamp(min=1)
    losses = [
        (F.binary_cross_entropy_with_logits(m.float(), mask, reduction="none") * valid).sum()
        for m in maps.all()
    ]
    return torch.stack(losses).sum() / total


def learning_rate(config: OptimiserConfig, iteration: int, iterations: int) -> float:
    """Factor on the peak rate at ``iteration`` of ``iterations``."""
    if iteration < config.warmup:
        return (iteration + 1) / config.warmup
    done = iteration / iterations
    if config.schedule == "poly":
        return float((1 - done) ** 0.9)
    return 0.5 * (1 + math.cos(math.pi * done))


def make_optimiser(net: BR2Net, config: OptimiserConfig) -> torch.optim.Optimizer:
    """Parameter groups by place (backbone or new) and kind (weights decay; biases and norms do not)."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        rate = config.backbone_lr if name.startswith("backbone.") else config.lr
        decay = config.decay if parameter.ndim > 1 else 0.0
        rate *= config.bias_lr if name.endswith("bias") else 1.0
        groups.setdefault((rate, decay), []).append(parameter)
    listed = [
        {"params": parameters, "lr": rate, "peak_lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]
    if config.kind == "sgd":
        return torch.optim.SGD(listed, momentum=0.9)
    return torch.optim.AdamW(listed)


def split(data: DataConfig, root: Path) -> tuple[MaskedFolder, list[Pair], list[Pair]]:
    """The folder, its training pairs and its validation pairs (every n-th name, the same every run).

    Raises:
        FileNotFoundError: the folders do not hold what the configuration names.
        ValueError: holding back the validation pairs would leave none to train on.
    """
    names = root / data.names if data.names else None
    folder = MaskedFolder(root / data.images, root / data.masks, data.polarity, data.ignore, names)
    pairs = folder.pairs()
    if data.validation >= len(pairs):
        raise ValueError(
            f"data.validation = {data.validation} of {len(pairs)} pairs leaves none to train on"
        )
    step = len(pairs) // data.validation if data.validation else len(pairs) + 1
    held = set(range(step - 1, step * data.validation, step)) if data.validation else set()
    train = [p for i, p in enumerate(pairs) if i not in held]
    return folder, train, [pairs[i] for i in sorted(held)]


@torch.inference_mode()
def predict(net: BR2Net, image: NDArray[np.uint8], info: ModelInfo) -> NDArray[np.float32]:
    """P(blurred) of one BGR image at its own size; the reference for every faster engine."""
    height, width = image.shape[:2]
    size = network_size((width, height), info.size)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    device = next(net.parameters()).device
    logits = net(normalise(small, info.scale)[None].to(device)).fused
    p = torch.sigmoid(logits)[0, 0].float().cpu().numpy()
    return np.clip(cv2.resize(p, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)


def validate(
    net: BR2Net, info: ModelInfo, folder: MaskedFolder, pairs: list[Pair]
) -> dict[str, float | None]:
    """The figures of `br2focus.models.evaluation.metrics.summarise` over ``pairs``."""
    net.eval()
    scores = []
    for pair in pairs:
        sample = folder.read(pair)
        scores.append(measure(predict(net, sample.image, info), sample.mask, sample.valid))
    return summarise(scores)


class Trainer:
    """One training run in a folder: ``state.safetensors``, ``log.jsonl``, and the finished model.

    Args:
        config: the run.
        root: the data root that the configuration's paths are relative to.
        out: the run's folder; a state in it is resumed.
        device: where to train, such as "cpu" or "cuda".
    """

    def __init__(self, config: TrainingConfig, root: Path, out: Path, device: str = "cpu") -> None:
        self.config, self.out, self.device = config, out, torch.device(device)
        self.folder, self.train_pairs, self.held_pairs = split(config.data, root)
        self.info = ModelInfo(
            name=config.name, config=config.network, scale=config.scale, size=config.size,
            data=config.data.description,
        )  # fmt: skip
        data = config.augment, config.scale, config.seed
        self.data = TrainingSet(self.folder, self.train_pairs, *data)
        torch.manual_seed(config.seed)
        start = load_file(root / config.backbone_start) if config.backbone_start else None
        self.net = BR2Net(config.network, start)
        self.out.mkdir(parents=True, exist_ok=True)
        self.state_path = out / "state.safetensors"
        if start is not None and not self.state_path.exists():
            some = (b.image for b in batches(self.data, config.batch, 0, 8))
            calibrate_batchnorm(self.net.backbone, some)
        self.net.to(self.device).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.net).requires_grad_(False).eval()
        self.optimiser = make_optimiser(self.net, config.optimiser)
        self.iteration = 0
        if self.state_path.exists():
            self.iteration = load_state(self.state_path, self._nets(), self.optimiser)

    def _nets(self) -> dict[str, nn.Module]:
        return {"net": self.net, "average": self.average}

    def run(self, report: Callable[[Event], bool | None] = lambda event: None) -> Path | None:
        """Train to the end and save the averaged network.

        Args:
            report: gets every log event; True stops the run, whose state is then saved.

        Returns:
            The path of the finished checkpoint, or None when stopped before the end.
        """
        config = self.config
        for batch in batches(self.data, config.batch, self.iteration, config.iterations):
            event: Event = {"iteration": self.iteration + 1, "loss": self.step(batch)}
            self.iteration += 1
            last = self.iteration == config.iterations
            if self.held_pairs and (last or self.iteration % config.validate_every == 0):
                event |= {"validation": self.validate()}
            self._log(event)  # before the state: a kill between them repeats the event
            stop = report(event) and not last
            if stop or last or self.iteration % config.save_every == 0:
                save_state(self.state_path, self.iteration, self._nets(), self.optimiser)
            if stop:
                return None
        path = self.out / f"{config.name}.safetensors"
        checkpoint.save(self.average, self.info, path)
        return path

    def step(self, batch: Batch) -> float:
        """One iteration of the optimiser; returns its loss.

        Raises:
            FloatingPointError: the loss is not finite; the weights are still those from before.
        """
        factor = learning_rate(self.config.optimiser, self.iteration, self.config.iterations)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak_lr"] * factor
        self.net.train()
        image = batch.image.to(self.device, memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16()):
            maps = self.net(image)
        loss = side_loss(maps, batch.mask.to(self.device), batch.valid.to(self.device))
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(
                f"the loss is {value} at iteration {self.iteration + 1}: lower the learning rate"
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.config.optimiser.clip:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.config.optimiser.clip)
        self.optimiser.step()
        self._update_average()
        return value

    def _bf16(self) -> bool:
        if self.device.type == "cuda":
            return self.config.bf16 and torch.cuda.is_bf16_supported()
        return self.config.bf16 and bool(torch.cpu._is_avx512_bf16_supported())

    @torch.no_grad()
    def _update_average(self) -> None:
        # A young average follows quickly, or it would keep the random start for thousands of steps.
        decay = min(self.config.ema, (1 + self.iteration) / (10 + self.iteration))
        ours, theirs = self.average.state_dict(), self.net.state_dict()
        for key, tensor in ours.items():
            if tensor.is_floating_point():
                tensor.lerp_(theirs[key], 1 - decay)
            else:
                tensor.copy_(theirs[key])

    def validate(self) -> dict[str, float | None]:
        """Figures of the averaged network on the pairs held back."""
        return validate(self.average, self.info, self.folder, self.held_pairs)

    def _log(self, event: Event) -> None:
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(event) + "\n")


def read_log(path: Path) -> Iterator[Event]:
    """Events of ``log.jsonl``; of an iteration that was run twice (after a kill) the last counts."""
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return iter({event["iteration"]: event for event in events}.values())
