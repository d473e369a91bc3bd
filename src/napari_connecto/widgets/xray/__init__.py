"""The dock *X-ray to EM*."""
