"""Policies of kyverno.io as policies of policies.kyverno.io: what cannot be said is refused, and all is checked."""
