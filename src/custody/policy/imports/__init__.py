"""Policies about images of other controllers than Kyverno, read as they are."""
