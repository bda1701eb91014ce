"""A Kubernetes API server: how it is reached, the kinds that it serves, and what policies ask of it."""
