"""What a network runs in: torch, compiled by torch, or ONNX Runtime."""
