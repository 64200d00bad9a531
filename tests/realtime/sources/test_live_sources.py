"""What every live source keeps, whichever it is; and what is special to each."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from br2focus.models.rendering.optics import BLURRED, IN_FOCUS
from br2focus.realtime.errors import FocusError, LostError, RefusedError, SettingsError, SourceError
from br2focus.realtime.frame import Frame
from br2focus.realtime.sources.arrays import Frames
from br2focus.realtime.sources.live import camera as camera_module
from br2focus.realtime.sources.live.camera import Camera, CameraInfo, find_camera
from br2focus.realtime.sources.live.camera_memory import remember
from br2focus.realtime.sources.live.connection import ReconnectPolicy
from br2focus.realtime.sources.live.controls import CameraControls
from br2focus.realtime.sources.live.paced import PacedSource
from br2focus.realtime.sources.live.reconnecting import ReconnectingSource
from br2focus.realtime.sources.live.stream import NetworkStream, at_address, is_url, redacted
from br2focus.realtime.sources.live.test_source import FocusPullSource
from br2focus.realtime.sources.source import Source
from br2focus.realtime.sources.video_file import VideoFile

SIZE = (64, 48)
Make = Callable[[], Source]


class FakeCapture:
    """What OpenCV gives for a camera: noise, until it is unplugged after ``count`` pictures."""

    def __init__(self, count: int = 10**6, size: tuple[int, int] = SIZE) -> None:
        self.count, self.size, self.released, self.asked = count, size, 0, {}

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self.count > 0

    def set(self, what: int, value: float) -> bool:
        self.asked[what] = value
        return True

    def get(self, what: int) -> float:
        known = {
            cv2.CAP_PROP_FRAME_WIDTH: self.size[0],
            cv2.CAP_PROP_FRAME_HEIGHT: self.size[1],
            cv2.CAP_PROP_FPS: 30.0,
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"YUYV"),
        }
        return known[what]

    def read(self) -> tuple[bool, Any]:
        time.sleep(0.005)
        self.count -= 1
        if self.count < 0:
            return False, None
        return True, np.random.default_rng(self.count).integers(
            0, 256, (self.size[1], self.size[0], 3), np.uint8
        )

    def release(self) -> None:
        self.released += 1


@pytest.fixture
def cameras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[CameraInfo]:
    """Two cameras of a kind, and another; nothing is remembered of them."""
    monkeypatch.setenv("BR2FOCUS_CONFIG", str(tmp_path / "config"))
    found = [
        CameraInfo(0, "HD Webcam", "/dev/v4l/by-id/a", "/dev/video0", 200),
        CameraInfo(2, "HD Webcam", "/dev/v4l/by-id/b", "/dev/video2", 200),
        CameraInfo(4, "Cam Link 4K", "/dev/v4l/by-id/c", "/dev/video4", 200),
    ]
    monkeypatch.setattr(camera_module, "list_cameras", lambda: found)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def sending(url: str, draw: Callable[[int, tuple[int, int]], Any]) -> Iterator[None]:
    """MPEG-TS with a keyframe every 5 frames to ``url`` while the context lasts."""
    over = threading.Event()

    def send() -> None:
        with av.open(url, "w", format="mpegts") as container:
            stream = container.add_stream("libx264", 25, options={"tune": "zerolatency"})
            stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
            stream.codec_context.gop_size = 5
            for index in range(10**6):
                frame = av.VideoFrame.from_ndarray(draw(index, SIZE), "bgr24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(frame))
                if over.wait(0.02):
                    return

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture(params=["pull", "camera", "paced", "udp", "supervised"])
def make(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    cameras: list[CameraInfo],
    make_clip: Callable[..., Path],
    clip_picture: Callable[[int, tuple[int, int]], Any],
) -> Iterator[Make]:
    """Makes a fresh live source."""
    match request.param:
        case "pull":
            yield lambda: FocusPullSource(96, 64)
        case "camera":
            yield lambda: Camera("4", open_capture=lambda place, backend: FakeCapture())
        case "paced":
            clip = make_clip(tmp_path / "clip.mp4", frames=40, size=SIZE)
            yield lambda: PacedSource(VideoFile(clip))
        case "udp":
            url = f"udp://127.0.0.1:{free_port()}"
            with sending(url, clip_picture):
                yield lambda: NetworkStream(url)
        case _:
            pictures = [clip_picture(index, SIZE) for index in range(100)]
            yield lambda: ReconnectingSource(lambda: PacedSource(Frames(pictures)), "frames")


# Every live source.


def test_frames_are_numbered_timed_and_read_only(make: Make) -> None:
    with make() as source:
        assert source.info.live and source.info.name
        frames = list(islice(source, 8))
    assert frames[0].index == 0
    assert all(one.index < two.index for one, two in pairwise(frames))
    assert all(one.seconds < two.seconds for one, two in pairwise(frames))
    assert all(one.arrived <= two.arrived for one, two in pairwise(frames))
    assert not any(frame.image.flags.writeable for frame in frames)
    assert source.info.size in (None, frames[0].size)


def test_close_twice_before_reading(make: Make) -> None:
    before = threading.active_count()
    source = make()
    source.close()
    source.close()
    source.__exit__(None, None, None)
    assert threading.active_count() <= before


def test_close_from_another_thread_ends_the_iteration(make: Make) -> None:
    with make() as source:
        frames = iter(source)
        next(frames)
        threading.Timer(0.1, source.close).start()
        begun = time.monotonic()
        for _ in frames:
            pass
        assert time.monotonic() - begun < 3


# Cameras.


def test_cameras_are_found_by_number_name_and_id(cameras: list[CameraInfo]) -> None:
    assert find_camera("2") is cameras[1]
    assert find_camera("cam link") is cameras[2]
    with pytest.raises(SourceError, match="2 have that name; say which: .*by-id/a, .*by-id/b"):
        find_camera("HD Webcam")
    with pytest.raises(SourceError, match=r"camera 7: not there; cameras here: 0 \(HD Webcam\)"):
        find_camera("7")


def test_a_stable_id_finds_its_camera_under_another_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = Path("/dev/v4l/by-id/one")
    resolve = Path.resolve
    target = ["/dev/video0"]
    monkeypatch.setattr(Path, "resolve", lambda self: Path(target[0]) if self == link else resolve(self))
    found = [CameraInfo(n, "cam", f"id{n}", f"/dev/video{n}", 200) for n in (0, 1)]
    monkeypatch.setattr(camera_module, "list_cameras", lambda: found)
    assert find_camera(str(link)).index == 0
    target[0] = "/dev/video1"
    assert find_camera(str(link)).index == 1


def test_a_camera_gives_what_it_can_and_says_so(cameras: list[CameraInfo]) -> None:
    capture = FakeCapture(3)
    source = Camera("4", size=(1920, 1080), rate=60, open_capture=lambda *_: capture)
    assert capture.asked[cv2.CAP_PROP_FRAME_WIDTH] == 1920 and capture.asked[cv2.CAP_PROP_FPS] == 60
    assert capture.asked[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*"MJPG")
    assert source.info.size == SIZE and source.info.rate == 30
    assert source.notices == ("asked 1920 x 1080 at 60 frames/s, got YUYV 64 x 48 at 30 frames/s",)
    found: list[Frame] = []
    with pytest.raises(SourceError, match="Cam Link 4K: gives no pictures any more"), source:
        found.extend(source)
    assert len(found) == 3 and capture.released == 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, ()),
        ({"size": SIZE, "rate": 30, "code": "YUYV"}, ()),
        ({"rate": 29.97}, ()),
        ({"rate": 24}, ("asked 24 frames/s, got YUYV 64 x 48 at 30 frames/s",)),
        ({"code": "Y16"}, ("asked Y16, got YUYV 64 x 48 at 30 frames/s",)),
        ({"size": (32, 24)}, ("asked 32 x 24, got YUYV 64 x 48 at 30 frames/s",)),
    ],
)
def test_what_is_not_given_is_noticed(
    asked: dict[str, Any], said: tuple[str, ...], cameras: list[CameraInfo]
) -> None:
    capture = FakeCapture()
    assert Camera("4", open_capture=lambda *_: capture, **asked).notices == said
    code = asked.get("code")
    wanted = cv2.VideoWriter.fourcc(*code.ljust(4)) if code else None
    assert capture.asked.get(cv2.CAP_PROP_FOURCC) == wanted


@pytest.mark.parametrize("code", ["", "MJPEG", "ÄÖÜ"])
def test_a_pixel_format_that_is_none(code: str, cameras: list[CameraInfo]) -> None:
    with pytest.raises(SettingsError, match="up to four letters"):
        Camera("4", code=code, open_capture=lambda *_: FakeCapture())


def test_remembered_controls_are_restored(
    cameras: list[CameraInfo], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    restored = []

    def restore(self: CameraControls, values: dict[str, int]) -> tuple[str, ...]:
        restored.append(values)
        return ("restored focus 30",) if values else ()

    monkeypatch.setattr(CameraControls, "restore", restore)
    remember("/dev/v4l/by-id/c", {"autofocus": 0, "focus": 30})
    for wanted, said in (("4", ("restored focus 30",)), ("0", ())):
        assert Camera(wanted, open_capture=lambda *_: FakeCapture()).notices == said
    assert restored == [{"autofocus": 0, "focus": 30}, {}]
    monkeypatch.setattr(camera_module, "list_cameras", lambda: [replace(cameras[2], backend=700)])
    assert Camera("4", open_capture=lambda *_: FakeCapture()).notices == ()
    monkeypatch.setattr(camera_module, "list_cameras", lambda: cameras)
    memory = tmp_path / "config" / "cameras.json"
    memory.unlink()
    memory.mkdir()
    [said] = Camera("4", open_capture=lambda *_: FakeCapture()).notices
    assert "cameras.json: cannot be read" in said


def test_a_camera_in_use_is_let_go(cameras: list[CameraInfo]) -> None:
    capture = FakeCapture(0)
    with pytest.raises(SourceError, match="cannot be opened; is another program using it"):
        Camera("4", open_capture=lambda *_: capture)
    assert capture.released == 1


def test_an_unplugged_camera_comes_back(cameras: list[CameraInfo]) -> None:
    captures = [FakeCapture(5), FakeCapture(0), FakeCapture(10**6)]
    made = iter(captures)
    patience = ReconnectPolicy(first=0.02, longest=0.05)
    source = ReconnectingSource(lambda: Camera("4", open_capture=lambda *_: next(made)), "camera 4", patience)
    frames = list(islice(source, 12))
    source.close()
    assert [frame.index for frame in frames] == list(range(12))
    assert source.status.reopened == 2
    assert [capture.released for capture in captures] == [1, 1, 1]


# Files and the built-in test.


def test_a_paced_file_keeps_its_time(make_clip: Callable[..., Path], tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=11, size=SIZE)
    with PacedSource(VideoFile(clip)) as source:
        arrived = [frame.arrived for frame in source]
    assert len(arrived) == 11 and 0.4 <= arrived[-1] - arrived[0] < 3


def test_the_built_in_pull_goes_to_and_fro() -> None:
    source = FocusPullSource(320, 240)
    last = len(source.clip) - 1
    ends = [source.truth(index) for index in (0, last, 2 * last)]
    assert ends[0].focus_metres == ends[2].focus_metres < ends[1].focus_metres
    assert source.truth(last + 5) is source.truth(last - 5)
    for end in (ends[0], ends[1]):
        assert {IN_FOCUS, BLURRED} <= set(np.unique(end.label).tolist())


# Streams.


def test_addresses_are_known_and_hidden() -> None:
    assert is_url("rtsp://host/x") and is_url("RTSP://host") and is_url("udp://127.0.0.1:5")
    assert not is_url("clip.mp4") and not is_url("concat:a|b") and not is_url("/dev/video0")
    assert redacted("rtsp://[::1]:554/a") == "rtsp://[::1]:554/a"
    assert redacted("rtsp://me:secret@cam:554/a?token=secret#x") == "rtsp://***@cam:554/a?***"


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://me:secret@cam/x",
        "rtsp://me:se@cret@secret@cam/x",
        "rtsp://me:12/secret@cam/x",
        "rtsp://me:[secret@cam/x",
        "rstp://me:secret@cam/x",
        "rtsp://cam/user=a_password=secret_channel=1",
        "http://cam/x?token=secret",
        "rtsp://cam/pwd=secret&x=1",
    ],
)
def test_no_message_holds_a_password(url: str) -> None:
    assert "secret" not in redacted(url)
    with pytest.raises(FocusError) as raised:
        NetworkStream(url.replace("cam", "127.0.0.1:9"), opening=1.0)
    shown = f"{raised.value!r} {raised.value} {raised.value.__cause__}"
    assert "secret" not in shown and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("file:///etc/passwd", "not one of rtsp"),
        ("http://127.0.0.1:9/x", "http needs --allow-web"),
        ("rtsp://169.254.169.254/x", "local link is refused"),
        ("rtsp://[::ffff:169.254.1.1]/x", "local link is refused"),
        ("udp://[fe80::1]:5000", "local link is refused"),
        ("rtsp://[half/x", "not an address"),
        ("rtsp://127.0.0.1:abc/x", "the port is no number"),
    ],
)
def test_an_address_that_does_not_do(url: str, text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        NetworkStream(url)


def test_nobody_is_there() -> None:
    with pytest.raises(SourceError, match="nobody answers there"):
        NetworkStream("rtsp://127.0.0.1:9/x", opening=1.0)


def test_a_web_server_cannot_send_us_elsewhere() -> None:
    asked: list[bytes] = []

    def redirect(connection: socket.socket) -> None:
        asked.append(connection.recv(4096))
        place = f"http://127.0.0.1:{connection.getsockname()[1]}/other"
        connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: {place}\r\n\r\n".encode())

    with answering(redirect) as port, pytest.raises(SourceError):
        NetworkStream(f"http://127.0.0.1:{port}/x", allow_web=True)
    assert asked and not any(b"/other" in request for request in asked)


def test_a_name_is_looked_up_once_and_the_checked_address_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that leads elsewhere the second time leads nowhere; of two addresses the next one is tried."""
    asked: list[bytes] = []
    looked_up: list[str] = []

    def refuse(connection: socket.socket) -> None:
        asked.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n")

    def lookup(host: str, *_: object) -> list[Any]:
        looked_up.append(host)
        places = ["::1", "127.0.0.1"] if len(looked_up) == 1 else ["169.254.169.254"]
        return [(0, 0, 0, "", (place, 0)) for place in places]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with answering(refuse) as port, pytest.raises(SourceError):
        NetworkStream(f"http://me:secret@cam.test:{port}/x", allow_web=True, opening=2.0)
    assert looked_up == ["cam.test"]
    assert asked and b"GET /x " in asked[0] and f"Host: cam.test:{port}".encode() in asked[0]
    with pytest.raises(SettingsError, match="local link"):
        NetworkStream(f"http://cam.test:{port}/x", allow_web=True)


@pytest.mark.parametrize(
    ("url", "address", "wanted"),
    [
        ("rtsp://cam/x?y=1", "10.0.0.1", "rtsp://10.0.0.1/x?y=1"),
        ("rtsp://me:se@cret@cam:554/x", "10.0.0.1", "rtsp://me:se@cret@10.0.0.1:554/x"),
        ("rtsp://cam:554/x", "fd00::1", "rtsp://[fd00::1]:554/x"),
        ("srt://[fd00::2]:9?mode=caller", "fd00::2", "srt://[fd00::2]:9?mode=caller"),
        ("rtsp://[fd00::2]/x", "fd00::2", "rtsp://[fd00::2]/x"),
        ("udp://@239.0.0.1:5000", "239.0.0.1", "udp://@239.0.0.1:5000"),
        ("https://cam/x", "10.0.0.1", "https://cam/x"),  # its certificate is for a name
        ("rtsps://cam/x", "10.0.0.1", "rtsps://cam/x"),
    ],
)
def test_the_rest_of_an_address_stays(url: str, address: str, wanted: str) -> None:
    assert at_address(url, address)[0] == wanted


def test_addresses_that_do_not_answer_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def be_silent(connection: socket.socket) -> None:
        time.sleep(3)

    lookup = [(0, 0, 0, "", (f"127.0.0.{n}", 0)) for n in (2, 3, 4, 1)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: lookup)
    limits: list[float] = []
    connect = NetworkStream._connected

    def connected(self: NetworkStream, url: str, options: dict[str, str], timeout: Any) -> Any:
        limits.append(timeout[0])
        return connect(self, url, options, timeout)

    monkeypatch.setattr(NetworkStream, "_connected", connected)
    with answering(be_silent) as port, pytest.raises(SourceError):
        NetworkStream(f"rtsp://cam.test:{port}/x", opening=2.0, reading=0.5)
    assert len(limits) == 4 and limits[0] == pytest.approx(0.5, abs=0.1) and max(limits) <= 2.0


def test_a_host_without_an_address_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> list[Any]:
        raise OSError("unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(SourceError, match=r"cam.test/x: the host name does not resolve"):
        NetworkStream("rtsp://cam.test/x")


def test_nobody_sends(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(SourceError, match="no answer in time"):
        NetworkStream(f"udp://127.0.0.1:{free_port()}", opening=0.5, reading=0.5)
    assert time.monotonic() - begun < 10


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that treats every connection as ``answer`` does."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)

        def serve() -> None:
            while not over.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection, suppress(OSError):
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            over.set()
            thread.join()


def test_a_refused_login_says_so_and_hides_it() -> None:
    def refuse(connection: socket.socket) -> None:
        while request := connection.recv(4096).decode():
            number = next(line.split(":")[1] for line in request.splitlines() if line.startswith("CSeq"))
            head = f"RTSP/1.0 401 Unauthorized\r\nCSeq:{number}\r\n"
            connection.sendall((head + 'WWW-Authenticate: Basic realm="x"\r\n\r\n').encode())

    with answering(refuse) as port, pytest.raises(RefusedError, match="login refused") as raised:
        NetworkStream(f"rtsp://me:secret@127.0.0.1:{port}/x")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("what", ["silence", "garbage"])
def test_a_server_that_is_none(what: str) -> None:
    def answer(connection: socket.socket) -> None:
        if what == "garbage":
            connection.sendall(np.random.default_rng(0).bytes(1 << 20))
        else:
            time.sleep(2)

    begun = time.monotonic()
    with answering(answer) as port, pytest.raises(SourceError):
        NetworkStream(f"rtsp://127.0.0.1:{port}/x", opening=1.0, reading=1.0)
    assert time.monotonic() - begun < 10


@contextmanager
def mini_rtsp(script: Path, folder: Path, port: int, mode: str) -> Iterator[None]:
    command = [sys.executable, str(script), str(port), mode]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None and server.stdout.readline()
        try:
            yield
        finally:
            server.kill()


@pytest.fixture
def rtsp(shared: Path, tmp_path: Path, make_clip: Callable[..., Path]) -> Callable[[int, str], Any]:
    """``rtsp(port, mode)`` runs a server of noisy pictures, as a context."""
    rng = np.random.default_rng(0)

    def noise(index: int, size: tuple[int, int]) -> Any:
        return rng.integers(0, 256, (size[1], size[0], 3), np.uint8)

    options = {"tune": "zerolatency", "x264-params": "keyint=10:repeat-headers=1:annexb=1"}
    make_clip(tmp_path / "a.ts", frames=90, size=(160, 120), options=options, draw=noise)
    script = shared / "tools" / "mini_rtsp.py"
    if not script.exists():
        pytest.skip(f"no {script}")
    return lambda port, mode: mini_rtsp(script, tmp_path, port, mode)


def test_a_killed_server_that_is_started_again(rtsp: Callable[[int, str], Any]) -> None:
    port = free_port()
    url = f"rtsp://127.0.0.1:{port}/x"
    source = ReconnectingSource(lambda: NetworkStream(url), "cam")
    stream = iter(source)
    with rtsp(port, "ok"):
        frames = list(islice(stream, 20))
    again = rtsp(port, "ok")
    threading.Timer(1.0, again.__enter__).start()
    try:
        while len(frames) < 1000 and not (source.status.reopened and len(frames) > 40):
            frames.append(next(stream))
    finally:
        source.close()
        again.__exit__(None, None, None)
    assert source.status.reopened >= 1
    assert all(one.seconds < two.seconds for one, two in pairwise(frames))
    assert [frame.index for frame in frames] == list(range(len(frames)))


@pytest.mark.parametrize("mode", ["stall", "drop"])
def test_a_stream_that_stalls_or_drops_is_opened_again(rtsp: Callable[[int, str], Any], mode: str) -> None:
    port = free_port()
    source = ReconnectingSource(lambda: NetworkStream(f"rtsp://127.0.0.1:{port}/x"), "cam")
    gaps, before = [], None
    with rtsp(port, mode):
        for frame in source:
            gaps.append(frame.arrived - before if before is not None else 0.0)
            before = frame.arrived
            if source.status.reopened:
                source.close()
    assert source.status.reopened >= 1
    assert 0.3 < max(gaps) < 30


def test_lost_packets_are_counted_and_survived(rtsp: Callable[[int, str], Any]) -> None:
    port = free_port()
    with rtsp(port, "loss"), NetworkStream(f"rtsp://127.0.0.1:{port}/x") as source:
        assert len(list(islice(source, 60))) == 60
        assert source.damaged > 0


def test_a_server_that_is_gone_for_good(rtsp: Callable[[int, str], Any]) -> None:
    port = free_port()
    patience = ReconnectPolicy(first=0.1, longest=0.2, retry_for=1.0)
    source = ReconnectingSource(lambda: NetworkStream(f"rtsp://127.0.0.1:{port}/x"), "cam", patience)
    server = rtsp(port, "ok")
    server.__enter__()
    threading.Timer(4.0, lambda: server.__exit__(None, None, None)).start()
    frames: list[Frame] = []
    with pytest.raises(LostError, match=r"cam: .*no frame for \d+ s, given up"):
        frames.extend(source)
    assert frames
