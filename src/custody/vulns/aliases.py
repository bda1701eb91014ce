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
    stated = (advisory.id, *advisory.aliases)
    own = frozenset([cve for name in stated if (cve := cve_of(name))])
    if not advisory.upstream:
        return own.union(stated)
    cves = {cve for name in advisory.upstream if (cve := cve_of(name))}
    same = advisory.upstream if not own or cves <= own else ()
    return frozenset((*stated, *own, *same, *(cves if same else ())))
