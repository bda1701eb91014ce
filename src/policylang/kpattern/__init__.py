"""Kyverno's pattern language, compiled: semantics of Kyverno 1.17, down to its paths and messages.

With one deliberate difference: whether a mismatch skips a rule is known from where it arose, never from words in its
message, so a resource cannot talk itself out of a rule by containing those words.

    from policylang import kpattern
    kpattern.matcher({"spec": {"containers": [{"image": "ghcr.io/*"}]}})(pod)
"""

from __future__ import annotations

from policylang.kpattern.anchors import anchor
from policylang.kpattern.matcher import Matcher, Mismatch
from policylang.kpattern.scalars import Scalar, leaf, operator, scalar

matcher = Matcher

__all__ = ["Matcher", "Mismatch", "Scalar", "anchor", "leaf", "matcher", "operator", "scalar"]
