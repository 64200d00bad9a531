"""Focus drawn over a picture, and maps refined to its edges; with OpenCV, or with PyTorch on a GPU."""
