"""Expressions as text: tokens, the tree, and how it is read."""
