"""Of which vulnerabilities a record is, by all of its names.

Records whose identifiers and aliases meet are one vulnerability. So are a distribution's record and the one
vulnerability that is its `upstream`. A bundle (DSA, USN, ALSA, …) mends several.
"""

from __future__ import annotations

from custody.formats.osv import Advisory, cve_of


def bundle(advisory: Advisory) -> tuple[str, ...]:
    """The CVEs that a record mends together; empty where it is of a single vulnerability."""
    if not advisory.upstream or advisory.cves:
        return ()
    cves = tuple(dict.fromkeys(cve for name in advisory.upstream if (cve := cve_of(name))))
    return cves if len(cves) > 1 else advisory.upstream if not cves and len(advisory.upstream) > 1 else ()


def names(advisory: Advisory) -> frozenset[str]:
    """All names of the single vulnerability of a record."""
    return called(advisory)[0]


def called(advisory: Advisory) -> tuple[frozenset[str], frozenset[str]]:
    """Its `names`, and the CVEs that those are."""
    stated = (advisory.id, *advisory.aliases)
    own = frozenset([cve for name in stated if (cve := cve_of(name))])
    if not advisory.upstream:
        return own.union(stated), own
    cves = {cve for name in advisory.upstream if (cve := cve_of(name))}
    if own and not cves <= own:
        return own.union(stated), own
    return own.union(stated, advisory.upstream, cves), own | cves
