"""Something that is wrong, as the formats of other people's dashboards have it: SARIF, GitLab's reports, JUnit."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """A vulnerability of a package, a secret or a risky setting."""

    kind: Literal["vulnerability", "secret", "setting"]
    id: str
    title: str
    severity: str
    """critical, high, medium, low, unknown, none."""
    score: float | None = None
    """CVSS, 0 to 10."""
    message: str
    """One line, whole sentence or list, for a person."""
    remedy: str = ""
    path: str = ""
    line: int = 0
    layer: str = ""
    package: str = ""
    version: str = ""
    purl: str = ""
    names: tuple[str, ...] = ()
    """Other identifiers of it."""
    exploited: bool = False
    help: str = ""
    """A web page about it."""

    @property
    def fingerprint(self) -> str:
        """The same for the same problem in a rebuilt image: without version, line and layer."""
        package = self.purl.partition("@")[0] if self.purl.count("@") == 1 else self.package
        return hashlib.sha256("\0".join((self.kind, self.id, package, self.path)).encode(
            errors="surrogatepass")).hexdigest()


def page(identifier: str) -> str:
    """Where somebody tells more of a vulnerability."""
    if identifier.startswith("CVE-"):
        return f"https://nvd.nist.gov/vuln/detail/{identifier}"
    return f"https://osv.dev/vulnerability/{identifier}"
