"""The annotation part of the dock *Adapt to my data*."""
