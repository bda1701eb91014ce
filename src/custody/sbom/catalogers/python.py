"""Python packages as they are installed: core metadata in `*.dist-info/METADATA`, `*.egg-info[/PKG-INFO]`."""

from __future__ import annotations

import re

from custody.ecosystems import python as spelled
from custody.sbom.catalogers.cataloger import Cataloger, ending, named
from custody.sbom.catalogers.fact import Fact

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_EXTRA = re.compile(r"\bextra\s*==")


def split_license(text: str) -> tuple[str, ...]:
    """A licence as the author wrote it, if it is a name and not a whole text."""
    text = text.strip()
    return (text,) if text and len(text) <= 200 and "\n" not in text and text.upper() != "UNKNOWN" else ()


def read(_path: str, content: bytes) -> tuple[Fact, ...]:
    head = content.decode("utf-8", "replace").replace("\r\n", "\n").partition("\n\n")[0]
    fields: dict[str, list[str]] = {}
    for line in head.split("\n"):
        key, colon, value = line.partition(":")
        if colon and key and not key[0].isspace():
            fields.setdefault(key.lower(), []).append(value.strip())
    name, version = fields.get("name", [""])[0], fields.get("version", [""])[0]
    if not name or not version:
        raise ValueError("metadata without Name and Version")
    licenses = split_license((fields.get("license-expression") or fields.get("license") or [""])[0])
    if not licenses:
        licenses = tuple(classifier.rpartition("::")[2].strip() for classifier in fields.get("classifier", ())
                         if classifier.startswith("License ::"))
    people = [fields.get(key, [""])[0] for key in ("author", "maintainer", "author-email", "maintainer-email")]
    supplier = next((person for person in people if person not in ("", "UNKNOWN")), "")
    requires = dict.fromkeys(spelled(match[1]) for line in fields.get("requires-dist", ())
                             if not _EXTRA.search(line.partition(";")[2]) and (match := _REQUIREMENT.match(line)))
    return (Fact(type="pypi", name=name, version=version, source=spelled(name), licenses=licenses, supplier=supplier,
                 requires=tuple(requires)),)


CATALOGER = Cataloger(
    name="python", version=1, types=("pypi",), read=read, listed=r"/(?:METADATA|PKG-INFO|[^/]+\.egg-info)\Z",
    paths=(named("METADATA", pattern=r"(?i:.*dist-info/metadata)", examples=("dist-info/METADATA",)),
           named("PKG-INFO", pattern=r"(?i:.*(?:egg|dist)-info/pkg-info)",
                 examples=("dist-info/PKG-INFO", "egg-info/PKG-INFO")),
           ending("egg-info")))
