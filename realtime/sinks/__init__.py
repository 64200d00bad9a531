"""Where results go: video files, images, maps, metrics."""
