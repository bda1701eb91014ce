"""Rego, the language of OPA and Gatekeeper, v0 and v1."""
