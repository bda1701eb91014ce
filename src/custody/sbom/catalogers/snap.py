"""Snaps: `meta/snap.yaml` of an unpacked snap (Snapcraft, "The snap format")."""

from __future__ import annotations

from collections.abc import Iterator

from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.fact import Fact, unknown


def read(path: str, content: bytes) -> Iterator[Fact]:
    from custody.formats import yaml  # most images have no snap

    documents = yaml.documents(content, path)
    stated = documents[0] if len(documents) == 1 and isinstance(documents[0], dict) else {}
    name, version = stated.get("name"), stated.get("version")
    if not isinstance(name, str) or not name or not isinstance(version, str | int | float):
        yield unknown("snap without a name or a version")
        return
    arches = stated.get("architectures")
    license_, base = stated.get("license"), stated.get("base")
    yield Fact(type="snap", name=name, version=str(version),
               licenses=(license_,) if isinstance(license_, str) and license_ else (),
               qualifiers=(("arch", str(arches[0])),) if isinstance(arches, list) and len(arches) == 1 else (),
               requires=(base,) if isinstance(base, str) else ())


CATALOGER = Cataloger(name="snap", version=1, types=("snap",), read=read, largest=256 << 10, cost=256 << 10, paths=(
    named("snap.yaml", pattern=r"(?:.*/)?meta/snap\.yaml", examples=("meta/snap.yaml",)),))
