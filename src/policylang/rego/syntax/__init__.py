"""The text of modules: tokens, the tree that they make, and how it is written again, as Rego and as JSON."""
