"""Focus overlays and edge refinement of maps, with OpenCV or with PyTorch on a GPU."""
