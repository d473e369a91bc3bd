"""Networks from elsewhere: ONNX, TorchScript, state dicts."""
