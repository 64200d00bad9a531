"""Live sources: cameras, network streams, and everything else that delivers frames in real time."""
