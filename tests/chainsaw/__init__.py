"""Runs chainsaw's tests (chainsaw.kyverno.io) against a real API server: its program is not to be had here."""
