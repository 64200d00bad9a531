"""The pipeline: sources, engine, smoothing, overlays and sinks, joined by two threads."""
