"""The demonstration: one real image through every gate, then attacks on it, each stopped by a named gate."""
