"""Published EM data sets with labelled neurons, by the loaders of torch_em."""
