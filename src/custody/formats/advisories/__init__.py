"""What publishers write of vulnerabilities in formats of their own: one module each, read into OSV's types.

Each has a predicate on the first bytes or the field names of a document, and `read(data, where)`, which yields
advisories or gives a `Snapshot`. Raises MalformedError, naming the field: of a document that is broken nothing counts.
"""
