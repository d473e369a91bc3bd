"""Published weights of encoders: where they are on this machine, how they get into a network, how they are fetched."""
