"""conda packages: a JSON record of each in `conda-meta` (conda.io, "Conda package specification"); environment.yml."""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.ecosystems import python as spelled
from custody.sbom.catalogers.cataloger import Cataloger, inside, named
from custody.sbom.catalogers.documents import hexadecimal, indented, json_object, rows, word, words
from custody.sbom.catalogers.fact import Fact, asked_for

_PINNED = re.compile(r"(?:[^\s:]+::)?([A-Za-z0-9_][A-Za-z0-9_.-]*)\s*={1,2}\s*([0-9][^\s=,|<>!*]*)(?:=(\S+))?\s*\Z")
_NAMED = re.compile(r"(?:[^\s:]+::)?([A-Za-z0-9_][A-Za-z0-9_.-]*)\s*(?:[\[(<>=!~;@ ]|\Z)")
_PIP = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*==\s*([0-9][^\s;,*]*)")


def read(path: str, content: bytes) -> tuple[Fact, ...]:
    """Python packages among them are installed as Python packages too, and listed as both."""
    row = json_object(path, content)
    name, version = word(row.get("name")), word(row.get("version"))
    if not name or not version:
        raise ValueError("a record without name and version")
    channel = word(row.get("channel")).rstrip("/").removesuffix("/" + (word(row.get("subdir")) or "noarch"))
    qualifiers = (("build", word(row.get("build")) or word(row.get("build_string"))),
                  ("channel", channel), ("subdir", word(row.get("subdir"))))
    license_ = word(row.get("license"))
    return (Fact(type="conda", name=name, version=version, licenses=(license_,) if license_ else (),
                 requires=tuple(dict.fromkeys(need.split(" ")[0] for need in words(row.get("depends")))),
                 hashes=hexadecimal("sha256", row.get("sha256")) or hexadecimal("md5", row.get("md5")),
                 qualifiers=tuple((key, value) for key, value in qualifiers if value)),)


def read_environment(_path: str, content: bytes) -> Iterator[Fact]:
    """Those with an exact version, `numpy=1.26.4=py312_0`; `numpy=1.26` asks for any of 1.26, and is counted."""
    listed = indented(content).get("dependencies")
    names = []
    for text in words(listed if isinstance(listed, list) else []):
        match = _PINNED.match(text)
        if match and ("==" in text or match[3]):
            yield Fact(type="conda", name=match[1].lower(), version=match[2],
                       qualifiers=(("build", match[3]),) if match[3] else ())
        elif asked := _NAMED.match(text):
            names.append(f"conda/{asked[1].lower()}")
    for row in rows(listed):
        for text in words(row.get("pip")):
            if match := _PIP.match(text):
                yield Fact(type="pypi", name=match[1], version=match[2])
            elif asked := _NAMED.match(text):
                names.append(f"pypi/{spelled(asked[1])}")
    if names:
        yield asked_for("Python requirement without an exact version", names)


CATALOGER = Cataloger(name="conda package", version=1, types=("conda",), read=read, parsed=0.1, largest=32 << 20,
                      paths=(inside("conda-meta", pattern=r".*\.json", examples=("conda-meta/a.json",)),))
ENVIRONMENT = Cataloger(name="conda environment", version=2, types=("conda", "pypi"), read=read_environment,
                        declares=True, paths=(named("environment.yml", "environment.yaml", "conda.yml", "conda.yaml"),))
