"""Threads whose first use of a library is at the same time do not wait for one another for ever."""

from __future__ import annotations

import subprocess
import sys

# OpenVINO's table of types, the first time in eight threads at once: about every tenth run stood still.
RUN = """
import os, threading
from br2focus.realtime.engine.backends.openvino import library

together, done = threading.Barrier(8), threading.Barrier(9)

def use():
    together.wait()
    library().Type.u8.to_dtype()
    done.wait()

for _ in range(8):
    threading.Thread(target=use, daemon=True).start()
try:
    done.wait(20)
finally:
    os._exit(done.broken)
"""


def test_openvino_in_many_threads_at_once() -> None:
    for _ in range(3):
        assert subprocess.run([sys.executable, "-c", RUN], check=False, timeout=30).returncode == 0
