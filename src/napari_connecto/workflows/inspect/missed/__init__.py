"""Why a model missed something: two runs, of which one lends its activations to the other."""
