"""`mutate` rules: patches of the object that is asked about, and of other ones."""
