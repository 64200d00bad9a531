"""Which share of a stage's start to keep in its result: the metrics of several means of both ends.

    python -m benchmarks.measure.means configs/lite_4.toml runs/lite_4/end.safetensors

The second file is the result of the training with ``keep = 0``. Prints a line for each share, measured on the
validation pairs and on scenes rendered from the training photographs with separate seeds (``mae`` of 40 of
each kind). Data as in datasets.py; no test set is used.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.measure.datasets import DATA
from br2focus.models import checkpoint
from br2focus.models.evaluation.metrics import measure
from br2focus.models.rendering.optics import BLURRED, IGNORED
from br2focus.models.rendering.scenes import SceneMix
from br2focus.models.training.config import read_config
from br2focus.models.training.material import read_scenes, split
from br2focus.models.training.validate import predict, validate

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
KINDS = {
    "focused": SceneMix(0, 0, 0, focused=1),
    "foreground": SceneMix(0, 0, 0, foreground=1),
    "sharp": SceneMix(1, 0, 0),
    "layers": SceneMix(0, 0, 0),
}
METRICS = ("mae", "auc", "max_f_focus", "f50_blur", "boundary_f")
SIDE, COUNT, SEED = 320, 40, 99


def main() -> None:
    """Print a line for each share."""
    parser = argparse.ArgumentParser(description="Compare means of both ends of a training stage.")
    parser.add_argument("config", type=Path)
    parser.add_argument("end", type=Path)
    options = parser.parse_args()
    config = read_config(options.config)
    assert config.start and config.rendered
    folder, _, held = split(config.data, DATA)
    sets = {}
    for kind, mix in KINDS.items():
        scenes = read_scenes(replace(config.rendered, mix=mix), DATA, SIDE)
        sets[kind] = [scenes.render(np.random.default_rng((SEED, i))) for i in range(COUNT)]
    start = checkpoint.load(checkpoint.find(config.start)[0])[0].state_dict()
    for share in SHARES:
        net, info = checkpoint.load(checkpoint.find(str(options.end))[0])
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(start[name], share)
        found = validate(net, info, folder, held)
        figures = {name: found[name] or 0.0 for name in METRICS}
        for kind, rendered in sets.items():
            off = [
                measure(predict(net, s.image, info), s.label == BLURRED, s.label != IGNORED).mae
                for s in rendered
            ]
            figures[kind] = float(np.mean(off))
        print(share, *(f"{name} {value:.4f}" for name, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
