"""Assemblies of .NET: PE files with a CLI header (ECMA-335 II.25; Microsoft, "PE Format"). They are counted, not read.

Programs for Windows that are no assemblies, such as the launchers inside Python's installers, say nothing of packages.
"""

from __future__ import annotations

import struct

from custody.sbom.catalogers.cataloger import Cataloger, ending
from custody.sbom.catalogers.fact import Fact, unknown

_CLI_HEADER = 14
"""The place of the CLI header among the data directories of the optional header."""


def read(_path: str, content: bytes) -> tuple[Fact, ...]:
    """One unknown for an assembly, and for what cannot be told from one."""
    try:
        (start,) = struct.unpack_from("<I", content, 0x3C)
        if content[:2] != b"MZ" or content[start:start + 4] != b"PE\0\0":
            return (unknown(".NET assembly"),)
        optional = start + 24
        (magic,) = struct.unpack_from("<H", content, optional)
        directories = optional + (112 if magic == 0x20B else 96)  # PE32+ or PE32
        (count,) = struct.unpack_from("<I", content, directories - 4)
        if count <= _CLI_HEADER:
            return ()
        (address,) = struct.unpack_from("<I", content, directories + 8 * _CLI_HEADER)
    except struct.error:
        return (unknown(".NET assembly"),)
    return (unknown(".NET assembly"),) if address else ()


CATALOGER = Cataloger(name=".NET assembly", version=1, read=read, largest=64 << 10, head=True,
                      paths=(ending("dll", "exe"),), listed=r"\.(?:dll|exe)\Z")
