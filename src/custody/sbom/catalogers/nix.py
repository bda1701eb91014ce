"""Nix's store: what a path `nix/store/HASH-NAME-VERSION[-OUTPUT]` says of itself (Nix, "Store path", and nixpkgs,
"Package naming").

No file stands for one: `sbom.layers` asks once a layer. A change here raises `_FORM` of `sbom.catalog`.
"""

from __future__ import annotations

import re

from custody.sbom.catalogers.fact import Fact, unknown

STORE = "Nix store path"
"""One of which its name says no version: sources, hooks, patches, and what was put together of others."""
_NAME = re.compile(r"nix/store/(?P<hash>[0-9a-z]+)-(?P<name>.+?)-(?P<version>[0-9][^-]*(?:-[^/]*)?)\Z")
_OUTPUTS = re.compile(r"-(?P<output>bin|data|debug|dev|devdoc|devman|dist|doc|info|lib|man|modules|out|py|static|"
                      r"terminfo)\Z")
_RECIPES = (".drv", ".drv.chroot", ".lock")


def package(path: str) -> Fact | None:
    """The package of a store path; an `unknown` where it does not say; None for a recipe."""
    if path.endswith(_RECIPES):
        return None
    match = _NAME.match(path)
    if match is None:
        return unknown(STORE)
    version, qualifiers = match["version"], [("outputhash", match["hash"])]
    if output := _OUTPUTS.search(version):
        version = version[:output.start()]
        qualifiers.append(("output", output["output"]))
    return Fact(type="nix", name=match["name"], version=version, qualifiers=tuple(qualifiers))
