#!/usr/bin/env bash
# Everything that needs a GPU, on a bare machine without internet, in under eight minutes:
#
#   benchmarks/gpu.sh OUT           writes OUT/gpu.json, profile.txt, trace.json.gz, video.json, tests.txt
#   DEVICE=cpu benchmarks/gpu.sh OUT   a dry run: the same code, a few rounds, on the CPU
#
# It needs Python, torch >= 2.11, torchvision, numpy and OpenCV. What else the command needs comes from wheels/, if
# there is one; make it where there is internet, for the Python of that machine:
#
#   pip download -d wheels --no-deps --only-binary=:all: --python-version 3.12 \
#       safetensors platformdirs av click tqdm kornia kornia_rs pydantic pydantic_core annotated-types typing-inspection \
#       pytest pluggy iniconfig packaging pygments
#
# Copy OUT/gpu.json to benchmarks/gpu.json and run `make tables`.
set -eu
cd "$(dirname "$0")/.."
out=${1:?where to write: benchmarks/gpu.sh OUT}
device=${DEVICE:-cuda}
python=${PYTHON:-python3}
mkdir -p "$out"
if [ -d wheels ]; then
    "$python" -m pip install --quiet --no-index --find-links wheels --no-deps wheels/*.whl
fi
export PYTHONPATH="$PWD/.ns${PYTHONPATH:+:$PYTHONPATH}"
"$python" benchmarks/gpu.py --device "$device" --out "$out"
if [ "$device" != cpu ] && "$python" -c 'import av, click' 2>/dev/null; then
    "$python" -m br2focus.plugins.cli bench video --device "$device" --json > "$out/video.json" || true
fi
if [ "$device" != cpu ] && "$python" -c 'import pytest, av' 2>/dev/null; then
    "$python" -m pytest -q -m needs_cuda -p no:cacheprovider $(grep -rl needs_cuda tests --include='test_*.py') > "$out/tests.txt" 2>&1 || true
    tail -3 "$out/tests.txt"
fi
