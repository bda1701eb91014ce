"""The same for the policies of the Kyverno CLI's own tests."""

from __future__ import annotations

from tests.oracles.kyverno_policies import PARTS, run

__all__ = ["PARTS", "run"]
