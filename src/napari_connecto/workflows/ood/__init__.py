"""Out-of-distribution check: is an image like what a model was trained on?"""
