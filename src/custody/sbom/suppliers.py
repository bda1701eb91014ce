"""Who supplies a package, where it does not say so itself: whose place it is that its name or its sources are in.

NTIA's supplier is the "entity that creates, defines, and identifies" a component: on a forge, in Maven Central and in a
scope of npm only the owner of that place can publish there. Nobody is made up for the rest.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from custody.kit.addresses import distributor
from custody.sbom.catalogers.fact import CRATES, Fact

_FORGE = re.compile(r"(?:https?://)?(?:www\.)?"
                    r"((?:github\.com|gitlab\.com|bitbucket\.org|codeberg\.org|git\.sr\.ht)/~?[\w.-]+)")


_PURL = re.compile(r"pkg:(?:(?:deb|rpm|apk)/(?P<distributor>[^/?#]+)/|generic/[^?#]*\?(?:[^#]*&)?"
                   r"download_url=(?P<archive>[^&#]+))")


def supplier(fact: Fact) -> str:
    """As it says; else the owner of the module's host, of the group, of the repository or of the scope."""
    if fact.supplier:
        return fact.supplier
    group, slash, _ = fact.name.rpartition("/")
    if fact.type == "golang":
        if fact.name == "stdlib":
            return "go.dev"
        owner = _FORGE.match(fact.name)
        host = fact.name.partition("/")[0]
        return owner[1] if owner else host if "." in host else ""
    if fact.type == "cargo" and fact.purl and "?" not in fact.purl:
        return CRATES  # purl-spec, "cargo": the registry of package URLs that name none
    if fact.type == "maven" and slash:
        return group
    if fact.purl and (purl := _PURL.match(fact.purl)):
        if purl["archive"] and (owner := _FORGE.match(unquote(purl["archive"]))):
            return owner[1]
        if purl["distributor"]:
            return distributor(purl["distributor"])[0]
    if owner := _FORGE.match(fact.repository):
        return owner[1]
    return group if fact.type == "npm" and group.startswith("@") else ""
