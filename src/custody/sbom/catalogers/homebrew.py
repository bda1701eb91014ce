"""Homebrew's formulae: `Cellar/NAME/VERSION/.brew/NAME.rb`, of which the folders say what is installed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.sbom.catalogers.cataloger import Cataloger, ending
from custody.sbom.catalogers.fact import Fact

_PLACE = re.compile(r"(?s)(?:.*/)?Cellar/(?P<name>[^/]+)/(?P<version>[^/]+)/\.brew/[^/]+")
_LICENSE = re.compile(r'^  license "([^"\n]{1,200})"\s*$', re.MULTILINE)
_REVISION = re.compile(r"_[0-9]+\Z")


def read(path: str, content: bytes) -> Iterator[Fact]:
    """The folder's version may have the formula's revision behind it, `1.7.1_2`: it is Homebrew's, not the software's.
    """
    match = _PLACE.match(path)
    if match is None:
        raise ValueError("a formula in no folder of the Cellar")
    stated = _LICENSE.search(content.decode("utf-8", "replace"))
    yield Fact(type="brew", name=match["name"], version=match["version"],
               source_version=_REVISION.sub("", match["version"]), licenses=(stated[1],) if stated else ())


CATALOGER = Cataloger(name="Homebrew", version=1, types=("brew",), read=read, paths=(
    ending("rb", pattern=r"(?:.*/)?Cellar/[^/]+/[^/]+/\.brew/[^/]+"),))
