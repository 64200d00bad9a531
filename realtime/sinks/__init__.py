"""Sinks write results as video files, images, maps and metrics."""
