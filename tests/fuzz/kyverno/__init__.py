"""Kyverno itself, asked the same: generated policies and objects."""
