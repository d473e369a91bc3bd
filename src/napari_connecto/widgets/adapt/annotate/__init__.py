"""The annotation step of the dock *Adapt to my data*."""
