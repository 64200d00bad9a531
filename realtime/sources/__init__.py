"""Sources of frames: video files, images and arrays; live sources are in `live`."""
