"""A cataloger as somebody would add it: PHP packages, in the shape in which Composer records them (installed.json)."""

from __future__ import annotations

from collections.abc import Iterator

from custody.kit import strictjson
from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.fact import Fact


def read(path: str, content: bytes) -> Iterator[Fact]:
    document = strictjson.loads(content, path)
    if not isinstance(document, dict) or not isinstance(document.get("packages"), list):
        raise ValueError("toys.json without packages")
    for row in document["packages"]:
        yield Fact(type="composer", name=str(row["name"]), version=str(row["version"]).removeprefix("v"),
                   licenses=tuple(row.get("license", ())), requires=tuple(row.get("require", ())))


CATALOGER = Cataloger(name="composer", version=1, types=("composer",), read=read, parsed=1.0,
                      paths=(named("toys.json", pattern=r"(?:.*/)?composer/toys\.json"),))
