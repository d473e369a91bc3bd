"""Running networks: predictors, devices, OpenVINO, ensembles."""
