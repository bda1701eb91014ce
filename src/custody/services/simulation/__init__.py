"""Policies tried out on documents, with no cluster: what `custody policy apply` and `custody policy test` share."""
