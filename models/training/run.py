"""The training loop: one or several processes, moving average, validation, exact resume."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from br2focus.models import checkpoint
from br2focus.models.br2net import BR2Net
from br2focus.models.checkpoint import ModelInfo
from br2focus.models.errors import CheckpointError

from .config import OptimiserConfig, TrainingConfig, identity_settings
from .data import ALL, Batch, Share, TrainingSet, batches
from .depthwise import use_float_gradients
from .distributed import from_first, mean_over_processes
from .losses import detail_loss, total_loss
from .material import read_material, split
from .start import calibrate_batchnorm, start_network
from .state import load_state, save_state
from .teacher import Teacher
from .validate import validate

Event = dict[str, Any]


def learning_rate(config: OptimiserConfig, iteration: int, iterations: int) -> float:
    """Return the factor on the peak learning rate at ``iteration`` of ``iterations``."""
    if iteration < config.warmup:
        return (iteration + 1) / config.warmup
    done = iteration / iterations
    if config.schedule == "poly":
        return float((1 - done) ** 0.9)
    return 0.5 * (1 + math.cos(math.pi * done))


def make_optimiser(net: BR2Net, config: OptimiserConfig) -> torch.optim.Optimizer:
    """Create the optimiser; groups are by part (backbone or new) and kind (biases and norms do not decay)."""
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


class Trainer:
    """One training run in a folder: ``state.safetensors``, ``log.jsonl``, and the finished model.

    Args:
        config: the settings of the run.
        root: the data root that paths in the configuration are relative to.
        out: the run's folder; a state in it is resumed.
        device: where to train, such as "cpu" or "cuda".
        share: this process's part of every batch if several train together, as
            `br2focus.models.training.distributed.joined` gives it. The first process validates and writes;
            all see the same ``root`` and ``out``.

    Raises:
        OSError, ValueError: the material or the start cannot be used (see `read_material`,
            `start_network`), or a batch cannot be divided.
        CheckpointError: the state in ``out`` is damaged, or belongs to another run.
        RuntimeError: there is no such device.
    """

    def __init__(
        self, config: TrainingConfig, root: Path, out: Path, device: str = "cpu", share: Share = ALL
    ) -> None:
        if config.batch % share.processes:
            raise ValueError(f"batch = {config.batch} cannot be divided among {share.processes} processes")
        self.config, self.out, self.device, self.share = config, out, torch.device(device), share
        self.folder, self.train_pairs, self.held_pairs = split(config.data, root)
        self.info = ModelInfo(
            name=config.name,
            config=config.network,
            scale=config.scale,
            size=config.size,
            data=config.data.description,
        )
        material = read_material(config, root, self.train_pairs, self.folder)
        whole = config.size if config.network.detail != "none" else None
        self.data = TrainingSet(material, config.augment, config.scale, config.seed, whole)
        torch.manual_seed(config.seed)
        self.net = start_network(config, root)
        self.out.mkdir(parents=True, exist_ok=True)
        self.state_path = out / "state.safetensors"
        if config.backbone_start and not config.start and not self.state_path.exists():
            some = (b.image for b in batches(self.data, config.batch, 0, 8))
            calibrate_batchnorm(self.net.backbone, some)
        use_float_gradients(self.net)
        # gloo does not support it: on CPUs, each process uses its own statistics.
        if share.processes > 1 and self.device.type == "cuda":
            self.net = nn.SyncBatchNorm.convert_sync_batchnorm(self.net)  # type: ignore[no-untyped-call]
        self.net.to(self.device).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.net).requires_grad_(False).eval()
        self.optimiser = make_optimiser(self.net, config.optimiser)
        self.iteration = 0
        names = [config.start, config.loss.teacher, *(extra.agree for extra in config.extra)]
        self.settings = identity_settings(config) | {
            f"SHA-256 of {name}": checkpoint.find(name)[1] for name in names if name
        }
        if self.state_path.exists():
            nets = self._nets()
            self.iteration = load_state(self.state_path, nets, self.optimiser, self.settings)
        if from_first(self.iteration, self.device) != self.iteration:
            raise CheckpointError(f"{self.state_path}: not the state that the first process sees")
        self.model = self.net if share.processes == 1 else DistributedDataParallel(self.net)
        loss = config.loss
        self.teacher = None
        if loss.teacher:
            self.teacher = Teacher(loss.teacher, config.scale, self.device, loss.teacher_gain)

    def _nets(self) -> dict[str, nn.Module]:
        return {"net": self.net, "average": self.average}

    def run(self, report: Callable[[Event], bool | None] = lambda event: None) -> Path | None:
        """Train to the end and save the averaged network.

        Args:
            report: called with every log event, only in the first process. If it returns True, the run stops
                in every process, and its state is saved.

        Returns:
            The path of the finished checkpoint; None if the run was stopped before the end, and in every
            process but the first.

        Raises:
            FloatingPointError: the loss is not finite.
            OSError: the log, the state or the checkpoint cannot be written.
            RuntimeError: the data worker, the device or another process failed.
        """
        config, first = self.config, self.share.rank == 0
        for batch in batches(self.data, config.batch, self.iteration, config.iterations, self.share):
            event: Event = {"iteration": self.iteration + 1, "loss": self.step(batch)}
            self.iteration += 1
            stop = self._finish_iteration(event, report) if first else False
            if from_first(stop, self.device):  # the others wait here while the first validates
                return None
        if not first:
            return None
        path = self.out / f"{config.name}.safetensors"
        if config.keep:
            assert config.start
            before = checkpoint.load(checkpoint.find(config.start)[0])[0].state_dict()
            _blend(self.average, before, config.keep)
        checkpoint.save(self.average, self.info, path)
        return path

    def _finish_iteration(self, event: Event, report: Callable[[Event], bool | None]) -> bool:
        """Validate, log, report and save when it is time to; return True if ``report`` stops the run."""
        config, last = self.config, self.iteration == self.config.iterations
        if self.held_pairs and (last or self.iteration % config.validate_every == 0):
            event |= {"validation": self.validate()}
        self._log(event)  # before the state: a kill in between repeats the event
        stop = bool(report(event)) and not last
        if stop or last or self.iteration % config.save_every == 0:
            nets = self._nets()
            save_state(self.state_path, self.iteration, nets, self.optimiser, self.settings)
        return stop

    def step(self, batch: Batch) -> float:
        """Run one iteration of the optimiser on this process's part of a batch; return the loss of all parts.

        Raises:
            FloatingPointError: the loss is not finite; the weights are unchanged.
        """
        factor = learning_rate(self.config.optimiser, self.iteration, self.config.iterations)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak_lr"] * factor
        self.net.train()
        image = batch.image.to(self.device, memory_format=torch.channels_last)
        target, valid = batch.mask.to(self.device), batch.valid.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16()):
            frames = [frame.to(self.device).float() for frame in batch.frames]
            maps = self.model(image, frames or None)
            if self.teacher:
                target = self._with_teacher(self.teacher, image, target, batch.drawn.flatten() > 0)
        if maps.blur is None:
            loss = total_loss(self.config.loss, maps, target, valid)
        else:
            random = torch.Generator().manual_seed(self.iteration)
            loss = detail_loss(self.config.loss, maps, batch, target, valid, random)
        value = float(mean_over_processes(loss.detach()))
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

    def _with_teacher(self, teacher: Teacher, image: Tensor, target: Tensor, drawn: Tensor) -> Tensor:
        """Mix the teacher's P into ``target`` for crops whose masks a person drew (``drawn``, bool B)."""
        if drawn.any():
            target = target.clone()
            target[drawn] = target[drawn].lerp(teacher(image[drawn]), self.config.loss.distil)
        return target

    def _bf16(self) -> bool:
        if self.device.type == "cuda":
            return self.config.bf16 and torch.cuda.is_bf16_supported()
        return self.config.bf16 and bool(torch.cpu._is_avx512_bf16_supported())

    def _update_average(self) -> None:
        # A young average follows quickly; otherwise it would keep the random start for thousands of steps.
        decay = min(self.config.ema, (1 + self.iteration) / (10 + self.iteration))
        _blend(self.average, self.net.state_dict(), 1 - decay)

    def validate(self) -> dict[str, float | None]:
        """Return the metrics of the averaged network on the pairs held back."""
        return validate(self.average, self.info, self.folder, self.held_pairs)

    def _log(self, event: Event) -> None:
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(event) + "\n")


@torch.no_grad()
def _blend(net: nn.Module, other: Mapping[str, Tensor], share: float) -> None:
    """Move the weights of ``net`` towards ``other`` by ``share`` of the way; copy its counters."""
    for key, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            tensor.lerp_(other[key].to(tensor.device), share)
        else:
            tensor.copy_(other[key])


def read_log(path: Path) -> Iterator[Event]:
    """Return the events of ``log.jsonl``; if an iteration ran twice (after a kill), the last one counts."""
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return iter({event["iteration"]: event for event in events}.values())
