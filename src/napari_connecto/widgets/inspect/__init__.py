"""The dock "Inspect a model": may its answer be trusted, and why did it miss something?"""
