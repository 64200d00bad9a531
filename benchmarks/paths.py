"""Paths that the benchmarks read and write."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCS = ROOT / "docs"
CONFIGS = ROOT / "configs"
SHARED = Path(os.environ.get("BR2FOCUS_SHARED", ROOT.parent / "shared"))  # data sets and clips
