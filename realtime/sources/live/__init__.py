"""Cameras, network streams, and whatever else delivers frames at its own pace."""
