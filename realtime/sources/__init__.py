"""Where frames come from: video files, images, arrays; live sources are in `live`."""
