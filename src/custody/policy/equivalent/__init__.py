"""A search for a request of which two sets of policies, of whatever engines, say different things."""
