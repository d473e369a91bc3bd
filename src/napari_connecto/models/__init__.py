"""Networks: the only home of torch, segmentation_models_pytorch and MONAI."""
