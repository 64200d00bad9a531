"""The average of two checkpoints of one network; `native` is shipped this way.

    python -m benchmarks.measure.average_weights FIRST SECOND OUT [--share S] [--gain G]

``share`` is that of the second checkpoint. The second was trained starting from the first, so a network
between them is as good as both (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022).
``gain`` multiplies the certainty of a network with ``detail``. The header is that of the second. The ranges
of its eight-bit layers are dropped, since they belong to other weights (`br2focus export --calibrate`
measures them).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from br2focus.models import checkpoint


def average(first: Path, second: Path, out: Path, share: float, gain: float) -> None:
    """Write the average of ``first`` and ``second`` to ``out``."""
    (a, _), (b, info) = checkpoint.load(first), checkpoint.load(second)
    ours, theirs = a.state_dict(), b.state_dict()
    mixed = {
        key: ours[key].lerp(value, share) if value.is_floating_point() else value
        for key, value in theirs.items()
    }
    if info.config.detail != "none":
        mixed["detail.certainty"] = mixed["detail.certainty"] * gain
    b.load_state_dict(mixed)
    checkpoint.save(b, replace(info, ranges={}), out)


def main() -> None:
    """Read the command line and write the average."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--gain", type=float, default=1.0)
    options = parser.parse_args()
    average(options.first, options.second, options.out, options.share, options.gain)


if __name__ == "__main__":
    main()
