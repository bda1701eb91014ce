"""Policies, objects and reviews that are made to hold what judges them."""
