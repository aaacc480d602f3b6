"""From a run to a bundle that OpenCV alone can use."""
