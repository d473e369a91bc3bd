"""Transfer: adapters, AdaBN, encoders, maximum mean discrepancy."""
