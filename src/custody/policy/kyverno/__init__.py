"""Kyverno's ClusterPolicy: the fields that custody evaluates, compiled once; any other is refused by its path."""
