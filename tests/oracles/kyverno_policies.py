"""Kyverno's own policies with their tests: rows of policies of kyverno.io, of CEL, expressions that compile, and rules
that are migrated.
"""

from __future__ import annotations

from tests.oracles import kyverno_compiles, kyverno_migrated, kyverno_rows

run = kyverno_rows.classic
PARTS = {"cel": kyverno_rows.cel, "compiles": kyverno_compiles.run, "migrate": kyverno_migrated.run}
