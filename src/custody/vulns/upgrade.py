"""The smallest upgrade of a package that clears all its findings."""

from __future__ import annotations

from collections.abc import Sequence

from custody.errors import CustodyError
from custody.versions import compare, key
from custody.vulns.match import Hit, Word, judge

_MOST = 200
"""Versions that are tried."""


def smallest(ecosystem: str, hits: Sequence[Hit], spoken: Sequence[Word]) -> str:
    """The oldest version that an advisory calls fixed and that none affects; empty where there is none, or where the
    versions cannot be put in order.

    Of advisories that do not affect the package now, too: the next version may be in the range of one. What affects a
    version affects all up to its fix, so that nothing between the two has to be tried.
    """
    if not all(hit.match.fixed for hit in hits):
        return ""
    try:
        reached = max((hit.match.fixed for hit in hits), key=lambda version: key(ecosystem, version))
        for _ in range(_MOST):
            furthest = reached
            for word in spoken:
                match = judge(word, furthest)
                if match is None:
                    continue
                if not match.fixed:
                    return ""
                if compare(ecosystem, furthest, match.fixed) < 0:
                    furthest = match.fixed
            if furthest == reached:
                return reached
            reached = furthest
    except CustodyError:
        return ""
    return ""
