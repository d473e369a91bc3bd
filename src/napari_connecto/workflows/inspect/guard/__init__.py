"""Is the answer right? A judge of the pair of image and answer, beside checks of either half."""
