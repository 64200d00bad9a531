"""A small RTSP server on the loopback interface: H.264 in RTP, inside the RTSP connection (RFC 2326, 6184).

    python tests/rtsp_server.py [--port N] [--mode MODE] [--after SECONDS] [--level GREY]

Test material, not a product: one noisy clip that repeats, under any path, for any number of clients; `MODES`
are what it can do wrong. It says what happens on stdout, a line each (``listening PORT``, ``playing``,
``stalled``, the requests), and ends when its stdin does, so that no killed test leaves it behind.

`Said` runs such a program, or the command under test, and keeps its lines with the moments they came.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import os
import re
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

STALL, LOSS = 50, 37
MODES = {
    "ok": "plays",
    "stall": f"each connection plays {STALL} pictures, then nothing more comes",
    "loss": f"one RTP packet of {LOSS} is missing",
    "garbage": "random bytes in the place of H.264",
    "401": "no login is good enough",
    "silent": "accepts, reads, never answers",
    "noise": "4 MB of random bytes, whatever is asked",
}
SIZE, RATE, LENGTH = (320, 240), 25, 50
SPS, PPS, FU_A = 7, 8, 28
PAYLOAD = 1400  # bytes of H.264 a packet: what fits a network's frame


class Said:
    """A program whose lines are kept with the `time.monotonic` at which they came; a context manager.

    Args:
        command: what to run; leaving the context kills what still runs.
        stream: the stream with the lines, the other one is kept in ``other`` when the program has ended.
    """

    def __init__(self, command: Sequence[str], *, stream: str = "stdout") -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        self.lines: list[tuple[float, str]] = []
        self.other, self.ended = "", 0.0
        told = [self.process.stdout, self.process.stderr]
        self._threads = [
            threading.Thread(target=self._read, args=(told.pop(stream != "stdout"),)),
            threading.Thread(target=self._keep, args=(told[0],)),
            threading.Thread(target=self._wait),
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, stream: Any) -> None:
        for line in stream:
            self.lines.append((time.monotonic(), line.rstrip()))

    def _keep(self, stream: Any) -> None:
        self.other = stream.read()

    def _wait(self) -> None:
        self.process.wait()
        self.ended = time.monotonic()

    @property
    def text(self) -> str:
        """All lines so far."""
        return "\n".join(line for _, line in self.lines)

    def when(self, pattern: str, *, since: float = 0.0, within: float = 60.0) -> float:
        """The moment of the first line since ``since`` in which ``pattern`` is found; waits for it.

        Raises:
            TimeoutError: it did not come.
        """
        until = time.monotonic() + within
        while True:
            over = not self._threads[0].is_alive()
            for moment, line in list(self.lines):
                if moment >= since and re.search(pattern, line):
                    return moment
            if over or time.monotonic() > until:
                raise TimeoutError(f"no line with {pattern!r} in:\n{self.text}\n{self.other}")
            time.sleep(0.005)

    def end(self, within: float = 60.0) -> int:
        """Wait for the end; the exit code. `ended` is the moment of it."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(within)
        self.process.kill()
        for thread in self._threads:
            thread.join()
        return self.process.returncode

    def __enter__(self) -> Said:
        return self

    def __exit__(self, *error: object) -> None:
        self.end(0.0)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


def serving(mode: str = "ok", *, port: int = 0, after: float = 0.0, level: int = 128) -> Said:
    """This file as a program of its own, which can be killed."""
    options = {"--mode": mode, "--port": port, "--after": after, "--level": level}
    words = [str(word) for pair in options.items() for word in pair]
    return Said([sys.executable, str(Path(__file__).resolve()), *words])


def port_of(server: Said) -> int:
    """The port on which it listens by now; waits for it."""
    server.when(r"^listening")
    return int(re.findall(r"^listening (\d+)", server.text, re.MULTILINE)[0])


def encoded(level: int) -> list[list[bytes]]:
    """The clip around a grey of ``level``: of every picture its NAL units; one keyframe a second."""
    context: Any = av.CodecContext.create("libx264", "w")
    context.width, context.height = SIZE
    context.pix_fmt, context.time_base, context.thread_count = "yuv420p", Fraction(1, RATE), 1
    params = f"keyint={RATE}:scenecut=0:repeat-headers=1:annexb=1"
    context.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": params}
    rng = np.random.default_rng(0)
    ramp = np.linspace(-30, 30, SIZE[0])
    pictures = []
    for index in range(LENGTH):
        grey = level + np.roll(ramp, 8 * index) + rng.normal(0, 8, SIZE[::-1])
        image = np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
        frame = av.VideoFrame.from_ndarray(image, "bgr24").reformat(format="yuv420p")
        frame.pts, frame.time_base = index, context.time_base
        pictures.append(b"".join(bytes(packet) for packet in context.encode(frame)))
    # Within a unit no two zeros are followed by a one, and none ends in zero.
    return [re.split(rb"\0{2,}\x01", picture)[1:] for picture in pictures]


def payloads(unit: bytes) -> Iterator[bytes]:
    """A NAL unit as RTP payloads: as it is, or cut into fragments whose head tells the first and the last."""
    if len(unit) <= PAYLOAD:
        yield unit
        return
    indicator, kind, body = unit[0] & 0xE0 | FU_A, unit[0] & 0x1F, unit[1:]
    for start in range(0, len(body), PAYLOAD):
        first, last = start == 0, start + PAYLOAD >= len(body)
        yield bytes([indicator, first << 7 | last << 6 | kind]) + body[start : start + PAYLOAD]


def packets(pictures: list[list[bytes]], mode: str) -> Iterator[bytes]:
    """For every picture, without end, its RTP packets as they go over the RTSP connection."""
    number = itertools.count()
    for index in itertools.count():
        parts = [part for unit in pictures[index % len(pictures)] for part in payloads(unit)]
        sent = []
        for left, part in zip(range(len(parts) - 1, -1, -1), parts, strict=True):
            count = next(number)
            if mode == "loss" and count % LOSS == LOSS - 1:
                continue
            body = os.urandom(len(part)) if mode == "garbage" else part
            kind, stamp = 96 | (left == 0) << 7, index * 90_000 // RATE
            head = struct.pack(">BBHII", 0x80, kind, count & 0xFFFF, stamp & 0xFFFFFFFF, 1)
            sent.append(struct.pack(">cBH", b"$", 0, len(head + body)) + head + body)
        yield b"".join(sent)


class Server(socketserver.ThreadingTCPServer):
    """Holds the clip and the mode for the connections."""

    allow_reuse_address, daemon_threads = True, True

    def __init__(self, port: int, mode: str, pictures: list[list[bytes]]) -> None:
        self.mode, self.pictures = mode, pictures
        first = {unit[0] & 0x1F: unit for unit in self.pictures[0]}
        self.parameters = ",".join(base64.b64encode(first[n]).decode() for n in (SPS, PPS))
        super().__init__(("127.0.0.1", port), Connection)

    def handle_error(self, request: Any, address: Any) -> None:
        """A client that goes is none."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, address)


class Connection(socketserver.StreamRequestHandler):
    """One client: answers until it plays, then plays until the client goes."""

    disable_nagle_algorithm = True
    server: Server

    def handle(self) -> None:
        say("accepted")
        if self.server.mode == "silent":
            self.rfile.read()
            return
        if self.server.mode == "noise":
            self.wfile.write(os.urandom(4 << 20))
            return
        for method, number, fields in self._requests():
            say(f"{method} {fields.get('transport', '')}".rstrip())
            self.wfile.write(self._answer(method, number, fields))
            if method == "PLAY":
                self._play()
            if method == "TEARDOWN":
                return

    def _requests(self) -> Iterator[tuple[str, str, dict[str, str]]]:
        """Of each request the method, its number and its fields."""
        while line := self.rfile.readline().decode():
            fields = {}
            while field := self.rfile.readline().decode().strip():
                name, _, value = field.partition(":")
                fields[name.lower()] = value.strip()
            yield line.split()[0], fields.get("cseq", "0"), fields

    def _answer(self, method: str, number: str, fields: dict[str, str]) -> bytes:
        code, head, body = "200 OK", ["Session: 1"], ""
        if method == "OPTIONS":
            head = ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"]
        elif method == "DESCRIBE" and self.server.mode == "401":
            code, head = "401 Unauthorized", ['WWW-Authenticate: Basic realm="test"']
        elif method == "DESCRIBE":
            body = (
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:video\r\n"
                f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={self.server.parameters}\r\n"
            )
            head = ["Content-Type: application/sdp"]
        elif method == "SETUP" and "TCP" not in fields.get("transport", ""):
            code = "461 Unsupported Transport"
        elif method == "SETUP":
            head.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        lines = [f"RTSP/1.0 {code}", f"CSeq: {number}", *head, f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", body]).encode()

    def _play(self) -> None:
        say("playing")
        due = time.monotonic()
        for index, data in enumerate(packets(self.server.pictures, self.server.mode)):
            if self.server.mode == "stall" and index == STALL:
                say("stalled")
                self.rfile.read()
                return
            self.wfile.write(data)
            due += 1 / RATE
            time.sleep(max(0.0, due - time.monotonic()))


def say(text: str) -> None:
    """A line on stdout, whole also among those of other threads."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    """Serve until killed, or until stdin ends."""
    begun = time.monotonic()
    modes = "\n".join(f"  {name:8} {what}" for name, what in MODES.items())
    parser = argparse.ArgumentParser(
        description=f"An RTSP server for tests. Modes:\n{modes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--mode", choices=MODES, default="ok")
    parser.add_argument("--after", type=float, default=0.0, help="listen so long after the start")
    parser.add_argument("--level", type=int, default=128, help="mean grey of the pictures")
    asked = parser.parse_args()
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    av.logging.set_level(av.logging.PANIC)
    clip = encoded(asked.level)
    time.sleep(max(0.0, begun + asked.after - time.monotonic()))
    with Server(asked.port, asked.mode, clip) as server:
        say(f"listening {server.server_address[1]}")
        server.serve_forever()


if __name__ == "__main__":
    main()
