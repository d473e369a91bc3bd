"""Out-of-distribution check: does an image look like what a model was trained on?"""
