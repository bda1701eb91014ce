"""Policies whose expressions are CEL: policies.kyverno.io, and what it has in common with Kubernetes' own."""
