"""The dock *Adapt to my data*."""
