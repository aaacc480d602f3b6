"""What each operation that tf2onnx writes becomes."""
