"""Assemblies of .NET that no `*.deps.json` names: the package that their version resource says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

from custody.formats import portable
from custody.sbom.catalogers import binaries
from custody.sbom.catalogers.cataloger import Cataloger, ending
from custody.sbom.catalogers.fact import Fact, unknown

_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+){1,3}(?:-[0-9A-Za-z.-]+)?")
_DEFAULTS = re.compile(r"[01](?:\.0){2,3}")
"""What a project is called that nobody gave a version: no package has it."""
ASSEMBLY = unknown(".NET assembly")
"""One that no package is known for."""


def read_assembly(path: str, file: BinaryIO, spend: Callable[[int], None]) -> Iterator[Fact]:
    """An assembly is the package that its version resource names; any other program is read as one.

    Nobody numbered one of version 1.0.0: that is what a compiler writes by itself, and says nothing.
    """
    try:
        read = portable.read(file)
    except ValueError:
        file.seek(0)
        if (head := file.read(4))[:2] != b"MZ" and binaries.is_program(head):
            yield from binaries.read_program(path, file, spend)
        else:
            yield ASSEMBLY  # it cannot be told from one
        return
    if not read.assembly:
        yield from binaries.read_program(path, file, spend)
        return
    strings = read.strings
    name = re.sub(r"(?i)\.(?:dll|exe)\Z", "", strings.get("InternalName") or strings.get("OriginalFilename") or "")
    match = _VERSION.match(strings.get("ProductVersion", "")) or _VERSION.match(strings.get("FileVersion", ""))
    if not name or "/" in name or match is None or _DEFAULTS.fullmatch(match[0]):
        yield ASSEMBLY
    else:
        yield Fact(type="nuget", name=name, version=match[0], supplier=strings.get("CompanyName", "")[:200],
                   evidence="version resource")


CATALOGER = Cataloger(name=".NET assembly", version=f"3 {binaries.CATALOGER.version}",
                      types=("nuget", *(binaries.CATALOGER.types or ())), search=read_assembly,
                      largest=2 << 30, paths=(ending("dll", "exe"),), listed=r"\.(?:dll|exe)\Z")
