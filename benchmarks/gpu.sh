#!/usr/bin/env bash
# Everything that needs a GPU, on a bare machine without internet, in under eight minutes:
#
#   benchmarks/gpu.sh OUT           writes OUT/gpu.json, video.json, tests.txt, trace-*.json.gz
#   DEVICE=cpu benchmarks/gpu.sh OUT   a dry run: the same code, a few rounds, on the CPU
#   CLIP=clip.mp4 benchmarks/gpu.sh OUT   end to end on this clip; without it one of 1080p is rendered
#
# It needs Python, torch >= 2.11, torchvision, numpy, OpenCV, safetensors, click, tqdm, matplotlib, pytest, hypothesis
# and a C compiler. What else the command needs comes from wheels/, if there is one; make it where there is internet,
# for the Python of that machine:
#
#   pip download -d wheels --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 \
#       --platform manylinux2014_x86_64 av kornia kornia_rs platformdirs pydantic pydantic_core annotated-types \
#       typing-inspection tomli-w cv2-enumerate-cameras
#
# Where the threads of a file are: python3 -m benchmarks.measure.timeline CLIP --model standard --device cuda.
# Copy OUT/gpu.json and OUT/video.json to benchmarks/results/gpu.json and benchmarks/results/gpu_video.json, and run `make tables`.
set -eu
cd "$(dirname "$0")/.."
out=${1:?where to write: benchmarks/gpu.sh OUT}
device=${DEVICE:-cuda}
python=${PYTHON:-python3}
mkdir -p "$out"
site=
if [ -d wheels ]; then
    site=$(mktemp -d)
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" wheels/*.whl
fi
export PYTHONPATH="$PWD/.ns${site:+:$site}${PYTHONPATH:+:$PYTHONPATH}"
if [ "$device" != cpu ]; then # nothing is timed here
    for name in paper standard lite; do
        "$python" -m benchmarks.measure.gpu --device "$device" --compile "$name" > "$out/compile-$name.txt" 2>&1 &
    done
    "$python" -m pytest -q --tb=short --show-capture=no -m needs_cuda -p no:cacheprovider \
        $(grep -rl needs_cuda tests --include='test_*.py') > "$out/tests.txt" 2>&1 || true
    tail -n 5 "$out/tests.txt"
    wait
fi
if [ "$device" != cpu ]; then
    "$python" -m br2focus.plugins.cli bench video ${CLIP:---picture 1920x1080} --model standard --device "$device" \
        --rounds 2 --json > "$out/video.json" || echo "end to end failed"
fi
"$python" -m benchmarks.measure.gpu --device "$device" --out "$out"
