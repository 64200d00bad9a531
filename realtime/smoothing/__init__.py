"""Temporal smoothing of blur maps."""
