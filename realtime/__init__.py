"""Defocus blur detection for video: sources, engine, smoothing, overlays and sinks in one pipeline.

    import br2focus.realtime as br

    with (br.open("clip.mp4") as source, br.Engine("lite") as engine,
          br.VideoWriter("out.mp4", like=source) as sink,
          br.Pipeline(source, engine, smoothing="look-ahead", refine="best") as results):
        for result in results:
            sink.write(result.overlay("heat"))

The names in ``__all__`` are the public interface. The modules and everything else in them may change. The
names are imported on first access, so importing this package is cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from br2focus.models.lazy import lazy_names

if TYPE_CHECKING:
    from .annotation import annotate
    from .engine.engine import Engine
    from .engine.settings import EngineSettings
    from .errors import ComputeError, FocusError, SettingsError, SinkError, SourceError
    from .frame import BlurMap, Frame, Roi
    from .network import FunctionNetwork, Network
    from .overlay_style import OverlayStyle
    from .pipeline import Pipeline
    from .result import FocusResult
    from .settings import FocusSettings
    from .sinks.maps import MapWriter
    from .sinks.metrics import MetricsWriter
    from .sinks.sink import Sink
    from .sinks.video_writer import VideoWriter
    from .sources.open import open_source as open
    from .sources.source import Source

__all__ = [
    "BlurMap",
    "ComputeError",
    "Engine",
    "EngineSettings",
    "FocusError",
    "FocusResult",
    "FocusSettings",
    "Frame",
    "FunctionNetwork",
    "MapWriter",
    "MetricsWriter",
    "Network",
    "OverlayStyle",
    "Pipeline",
    "Roi",
    "SettingsError",
    "Sink",
    "SinkError",
    "Source",
    "SourceError",
    "VideoWriter",
    "__version__",
    "annotate",
    "open",
]

__version__: str

_lazy = lazy_names(
    __name__,
    {
        "annotation": ["annotate"],
        "engine.engine": ["Engine"],
        "engine.settings": ["EngineSettings"],
        "errors": ["ComputeError", "FocusError", "SettingsError", "SinkError", "SourceError"],
        "frame": ["BlurMap", "Frame", "Roi"],
        "network": ["FunctionNetwork", "Network"],
        "overlay_style": ["OverlayStyle"],
        "pipeline": ["Pipeline"],
        "result": ["FocusResult"],
        "settings": ["FocusSettings"],
        "sinks.maps": ["MapWriter"],
        "sinks.metrics": ["MetricsWriter"],
        "sinks.sink": ["Sink"],
        "sinks.video_writer": ["VideoWriter"],
        "sources.open": ["open_source as open"],
        "sources.source": ["Source"],
    },
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("br2focus")
    return _lazy(name)


def __dir__() -> list[str]:
    return sorted(__all__)
