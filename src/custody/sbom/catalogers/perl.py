"""Perl: distributions of CPAN as cpanm records them (`.meta/NAME-VERSION/install.json`), perllocal.pod."""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.documents import json_object, word
from custody.sbom.catalogers.fact import Fact, unknown

_ENTRY = re.compile(r"^=head2 [^\n]*?C<Module> L<([^|>\n]{1,200})(?:\|[^>\n]{0,200})?>", re.MULTILINE)
_VERSION = re.compile(r"C<VERSION: ([^>\s]+)>")
_DISTRIBUTION = re.compile(r"(.+)-v?[0-9][^-]*\Z")


def read(path: str, content: bytes) -> tuple[Fact, ...]:
    document = json_object(path, content)
    match = _DISTRIBUTION.match(word(document.get("dist")))
    name = match[1] if match else word(document.get("name")).replace("::", "-")
    version = word(document.get("version"))
    if not name or not version:
        raise ValueError("install.json without a distribution and a version")
    author = word(document.get("pathname")).split("/")
    return (Fact(type="cpan", name=f"{author[2]}/{name}" if len(author) > 3 else name,
                 version=version),)


def read_local(_path: str, content: bytes) -> Iterator[Fact]:
    """What `make install` adds to it; of a module that was installed again the last entry counts."""
    text = content.decode("utf-8", "replace")
    entries = list(_ENTRY.finditer(text))
    versions: dict[str, str] = {}
    for entry, following in zip(entries, [*entries[1:], None], strict=True):
        stated = _VERSION.search(text, entry.end(), following.start() if following else len(text))
        versions[entry[1].replace("::", "-")] = stated[1] if stated else ""
    for name, version in versions.items():
        yield Fact(type="cpan", name=name, version=version) if version else unknown(
            "Perl module without a version")


INSTALLED = Cataloger(name="CPAN distribution", version=2, types=("cpan",), read=read, parsed=0.25, paths=(
    named("install.json", pattern=r".*/\.meta/[^/]+/install\.json"),))
LOCAL = Cataloger(name="perllocal", version=2, types=("cpan",), read=read_local, paths=(named("perllocal.pod"),))
