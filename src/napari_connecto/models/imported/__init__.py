"""Imported networks: ONNX, TorchScript, state dicts."""
