"""What each part of BR2Net is worth: one training per row, each with one switch, on two CPU cores.

    python -m benchmarks.measure.ablation [--only ROW ...] [--iterations N] [--seeds 0 1] [--again]

Every row is configs/ablation.toml with one switch (`ROWS`). It is measured on the pairs held back from
training, never on test images. results/ablation.json is written after each row and seed. What is in it is
skipped, and a training that was stopped (Ctrl-C) resumes from its folder under runs/ablation.
benchmarks.report.ablation makes the document. The data folder is given by the variable BR2FOCUS_SHARED, or
``shared`` next to the repository.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from benchmarks.paths import CONFIGS, RESULTS, ROOT, SHARED
from br2focus.models.br2net import BR2Net, Maps
from br2focus.models.config import BR2NetConfig
from br2focus.models.rlrm import resize
from br2focus.models.training.config import TrainingConfig, read_config, with_photos_beside
from br2focus.models.training.data import Batch
from br2focus.models.training.losses import side_loss
from br2focus.models.training.run import Event, Trainer, read_log
from br2focus.plugins.cli.progress import Progress, StopSignals
from br2focus.realtime.engine.backends.openvino import cpu_name

CONFIG = CONFIGS / "ablation.toml"
FIGURES = ("mae", "auc", "max_f_focus", "f50_blur", "boundary_f")
POINTS = 100  # of a training curve in the JSON file
SEEDS = (0, 1)

Switches = dict[str, Any]
Content = dict[str, Any]


def _random_backbone(backbone: str) -> Switches:
    # The base's lower rate preserves what ImageNet taught; a random backbone has nothing to preserve.
    return {
        "network": {"backbone": backbone},
        "backbone_start": None,
        "optimiser": {"backbone_lr": 1e-3},
    }


def _more(images: str, masks: str, **others: Any) -> Switches:
    """Return switches that take a quarter of all crops from further pairs."""
    pairs = {"images": images, "masks": masks, "polarity": "blurred", "share": 0.25}
    return {"extra": [pairs | others]}


_SZU_BD = {
    "images": "szu_bd/images",
    "masks": "szu_bd/masks",
    "names": "szu_bd/out_of_focus.txt",
    "leave_out": "szu_bd/near_duplicates_of_cuhk.txt",
}
# Name of a row -> what it changes in the base configuration, as JSON values.
ROWS: dict[str, Switches] = {
    "base": {},
    "l2h": {"network": {"fusion": "l2h"}},
    "h2l": {"network": {"fusion": "h2l"}},
    "conv": {"network": {"fusion": "conv"}},
    "no_rlrm": {"network": {"rlrm": False}},
    "no_attention": {"network": {"attention": "none"}},
    "bam": {"network": {"attention": "bam"}},
    "cbam": {"network": {"attention": "cbam"}},
    "iou": {"loss": {"iou": 1.0}},
    "edge": {"loss": {"edge": 1.0}},
    "iou_edge": {"loss": {"iou": 1.0, "edge": 1.0}},
    "szu_bd": _more(**_SZU_BD),
    "szu_bd_agreeing": _more(**_SZU_BD, agree="lite"),
    "motion": _more("cuhk/images", "cuhk/masks", only="motion*"),
    "rendered": {"rendered": {"share": 0.25, "photos": "sharp_photos.txt", "mattes": "mattes"}},
    "random_mobilenet_v2": _random_backbone("mobilenet_v2"),
    "random_efficientnet_lite0": _random_backbone("efficientnet_lite0"),
    "random_resnext50_32x4d": _random_backbone("resnext50_32x4d"),
    "random_vgg16": _random_backbone("vgg16"),
}
# Rows with one seed by default.
SLOW = ("random_efficientnet_lite0", "random_resnext50_32x4d", "random_vgg16")


# Training.


class Supervised(nn.Module):
    """The network under training, reduced to the pathways that its result depends on.

    Two pathways give the eleven maps of the paper's loss. One pathway gives its own five, each supervised
    once. ``fused`` is the result of the last batch, logits B x 1 x H x W.
    """

    def __init__(self, net: BR2Net) -> None:
        super().__init__()
        self.net = net
        self.fused = torch.empty(0)

    def forward(self, x: Tensor, frames: None = None) -> Maps:
        """Map normalised images B x 3 x H x W to the maps to supervise, logits at H x W."""
        maps = self._maps(x)
        self.fused = maps.fused.detach()
        return maps

    def _maps(self, x: Tensor) -> Maps:
        match self.net.config.fusion:
            case "l2h":
                pathway = self.net.pathway_l2h
            case "h2l":
                pathway = self.net.pathway_h2l
            case _:
                maps: Maps = self.net(x)
                return maps
        size = (x.shape[-2], x.shape[-1])
        *sides, result = (resize(m, size) for m in pathway(self.net.attended(x)))
        return Maps(sides, [], result)


class RowTrainer(Trainer):
    """A training that also knows the loss of its result alone: ``result_loss``, for the last batch."""

    def __init__(self, config: TrainingConfig, root: Path, out: Path) -> None:
        super().__init__(config, root, out)
        self.supervised = Supervised(self.net)
        self.model = self.supervised  # type: ignore[assignment]  # it is only called
        self.result_loss = float("nan")

    def step(self, batch: Batch) -> float:
        """Run one iteration of the optimiser; return the whole loss."""
        loss = super().step(batch)
        alone = Maps([], [], self.supervised.fused)
        self.result_loss = float(side_loss(alone, batch.mask, batch.valid))
        return loss


def configure(base: TrainingConfig, row: str, seed: int) -> TrainingConfig:
    """Return the training of ``row``: the base configuration with its switches."""
    values = plain(base)
    for key, value in ROWS[row].items():
        values[key] = (values[key] or {}) | value if isinstance(value, dict) else value
    values |= {"name": row, "seed": seed, "validate_every": base.iterations}
    return with_photos_beside(TypeAdapter(TrainingConfig).validate_python(values), CONFIG)


def plain(config: TrainingConfig) -> dict[str, Any]:
    """Return ``config`` as JSON values."""
    values: dict[str, Any] = TypeAdapter(TrainingConfig).dump_python(config, mode="json")
    return values


def run_folder(runs: Path, config: TrainingConfig) -> Path:
    """Return the folder of one training; every configuration has its own."""
    digest = hashlib.sha256(json.dumps(plain(config), sort_keys=True).encode()).hexdigest()
    return runs / f"{config.name}-{config.seed}-{digest[:8]}"


def train(config: TrainingConfig, root: Path, folder: Path, stop: Callable[[], bool]) -> bool:
    """Train to the end (True), or until ``stop`` returns True; resume a folder with part of the training."""
    if (folder / f"{config.name}.safetensors").exists():
        return True
    trainer = RowTrainer(config, root, folder)
    before: float | None = None
    with Progress(f"{config.name}/{config.seed}", "iteration") as progress:

        def report(event: Event) -> bool:
            nonlocal before
            seconds = time.perf_counter() - before if before else None
            own = {"result": trainer.result_loss, "seconds": seconds}
            with (folder / "curve.jsonl").open("a") as file:
                file.write(json.dumps(event | own) + "\n")
            before = time.perf_counter()
            progress(event["iteration"], config.iterations, f"loss {event['loss']:.3f}")
            return stop()

        return trainer.run(report) is not None


# Figures.


def figures(row: str, config: TrainingConfig, folder: Path) -> dict[str, Any]:
    """Return what the JSON file holds about one finished training."""
    events = list(read_log(folder / "curve.jsonl"))
    times = [e["seconds"] for e in events if e["seconds"] and "validation" not in e]
    validation = events[-1]["validation"]
    return {
        "row": row,
        "seed": config.seed,
        "switches": ROWS[row],
        "iterations": config.iterations,
        "figures": {name: _round(validation[name]) for name in FIGURES},
        "parameters": parameters(config.network),
        "seconds_per_iteration": _round(statistics.median(times) if times else None, 3),
        "curve": {
            "iteration": thinned([e["iteration"] for e in events], 1),
            "result": thinned([e["result"] for e in events]),
            "sum": thinned([e["loss"] for e in events]),
        },
        "machine": f"{os.cpu_count()} cores, {cpu_name()}",
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("br2focus", "torch", "torchvision", "numpy")},
    }


def _round(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)


def parameters(config: BR2NetConfig) -> int:
    """Count the parameters that the result depends on, without those of a pathway that it does not use."""
    with torch.device("meta"):
        net = BR2Net(config)
    unused = {"l2h": "h2l", "h2l": "l2h"}.get(config.fusion, "-")
    return sum(p.numel() for name, p in net.named_parameters() if not name.startswith(unused))


def thinned(values: Sequence[float], digits: int = 4) -> list[float]:
    """Return the means of at most `POINTS` equal parts of ``values``."""
    parts = np.array_split(np.array(values, np.float64), min(POINTS, len(values)))
    return [round(float(part.mean()), digits) for part in parts]


def read(path: Path, base: TrainingConfig) -> Content:
    """Read the figures written so far.

    Raises:
        ValueError: they belong to another base configuration or length of training.
    """
    if not path.exists():
        return {"base": plain(base), "runs": []}
    content: Content = json.loads(path.read_text())
    # Settings that were added later have their defaults in an older file.
    if plain(TypeAdapter(TrainingConfig).validate_python(content["base"])) != plain(base):
        raise ValueError(
            f"{path} holds trainings of another base configuration: delete it, or give --out another folder"
        )
    return content


def write(path: Path, content: Content) -> None:
    """Write the figures, one line per training; the file gets its final name only when complete."""
    order = {row: place for place, row in enumerate(ROWS)}
    runs = sorted(content["runs"], key=lambda run: (order.get(run["row"], len(order)), run["seed"]))
    lines = ",\n".join(json.dumps(run) for run in runs)
    part = path.with_suffix(".part")
    part.write_text(f'{{"base": {json.dumps(content["base"])},\n"runs": [\n{lines}\n]}}\n')
    part.replace(path)


def measure(
    base: TrainingConfig, options: argparse.Namespace, content: Content, stop: Callable[[], bool]
) -> list[str]:
    """Train and measure what is missing, seed by seed; return a line for each training that failed."""
    file, failed = options.out / "ablation.json", []
    for row, seed in jobs(options):
        if stop():
            break
        config = configure(base, row, seed)
        done = [run for run in content["runs"] if (run["row"], run["seed"]) == (row, seed)]
        if not options.again and any(run["switches"] == ROWS[row] for run in done):
            continue
        folder = run_folder(options.runs, config)
        if options.again and folder.exists():
            shutil.rmtree(folder)
        try:
            if not train(config, options.data, folder, stop):
                break
        except FloatingPointError as error:  # other rows do not depend on this one
            failed.append(f"{row}, seed {seed}: {error}")
            continue
        new = figures(row, config, folder)
        content["runs"] = [run for run in content["runs"] if run not in done] + [new]
        write(file, content)
        (folder / "state.safetensors").unlink(missing_ok=True)  # some 35 to 400 MB per training
        print(f"{row}, seed {seed}: {json.dumps(new['figures'])}", flush=True)
    return failed


def jobs(options: argparse.Namespace) -> list[tuple[str, int]]:
    """Return rows and seeds in order: all rows once before any row twice."""
    seeds = options.seeds or SEEDS
    once = () if options.seeds else SLOW
    return [(row, s) for s in seeds for row in options.only if s == seeds[0] or row not in once]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Train the rows of the ablation.")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=ROWS,
        default=list(ROWS),
        metavar="ROW",
        help=f"rows to train: {', '.join(ROWS)}",
    )
    parser.add_argument("--iterations", type=int, help="length of every training")
    parser.add_argument(
        "--seeds", nargs="+", type=int, help=f"default: {SEEDS}, but only the first for {', '.join(SLOW)}"
    )
    parser.add_argument("--again", action="store_true", help="train finished rows again")
    parser.add_argument("--config", type=Path, default=CONFIG, help="the base configuration")
    parser.add_argument("--data", type=Path, default=SHARED / "data", help="the data root")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of ablation.json")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "ablation")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing; return 0 if everything is there, 1 if a row failed, 130 after Ctrl-C."""
    options = parse(arguments)
    try:
        base = read_config(options.config)
        if options.iterations:
            base = replace(base, iterations=options.iterations)
        content = read(options.out / "ablation.json", base)
    except (OSError, ValueError) as error:
        print(f"ablation: {error}", file=sys.stderr)
        return 2
    with StopSignals() as signals:
        failed = measure(base, options, content, lambda: signals.code is not None)
    for line in failed:
        print(line, file=sys.stderr)
    return int(signals.code or bool(failed))


if __name__ == "__main__":
    sys.exit(main())
