"""Metadata that its own tools read, or refuse, and that a stricter reader would pass over in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from custody.sbom.catalog import catalog
from tests.contents.images import METADATA, image

_DEB = b"Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n"
_APK = "lib/apk/db/installed"
_DPKG = "var/lib/dpkg/status"
_VAGUE = "Debian package without a name, a version or a known state"


@pytest.mark.parametrize(("path", "content", "packages", "kinds"), [
    (_DPKG, _DEB.replace(b"Package", b"package").replace(b"Version", b"VERSION"), "a", ""),
    (_DPKG, _DEB.replace(b"install ok installed", b"Install OK Installed"), "a", ""),
    (_DPKG, _DEB + b" \n" + _DEB.replace(b": a\n", b": b\n"), "a b", ""),
    (_DPKG, (_DEB + b"\n" + _DEB.replace(b": a\n", b": b\n")).replace(b"\n", b"\r\n"), "a b", ""),
    (_DPKG, _DEB + b"Package: other\n", "a", "Debian package with a field twice"),
    (_DPKG, _DEB.replace(b"Version: 1\n", b""), "", _VAGUE),
    (_DPKG, _DEB.replace(b"Status: install ok installed\n", b""), "", _VAGUE),
    ("opt/root/var/lib/dpkg/status.d/a", _DEB, "a", ""),
    (_APK, b"P:a\nA:x86_64\n", "", "apk package without one name and one version"),
    (_APK, b"P:a\nV:1\nP:b\nV:2\n", "a", "apk package without one name and one version"),
    (_APK, b"P:a\r\nV:1\r\n", "a", ""),
    (_APK, b"P:a\r\nV:1\r\n\r\nP:b\r\nV:1\r\n", "", "unreadable apk file"),
    ("s/X-1.DIST-INFO/METADATA", METADATA, "Flask_Login", ""),
    ("s/X-1.Dist-Info/METADATA", METADATA, "Flask_Login", ""),
    ("s/X-1.dist-info/PKG-INFO", METADATA, "Flask_Login", ""),
    ("s/X-1.EGG-INFO", METADATA, "Flask_Login", ""),
    ("node_modules/x/package.json", b'{"name":"x"}', "", "npm package without a name and a version"),
    ("node_modules/@s/x/package.json", b'{"name":"x","version":1}', "", "npm package without a name and a version"),
    ("node_modules/x/esm/package.json", b'{"type":"module"}', "", "")])
def test_metadata_that_its_own_tools_read(tmp_path: Path, path: str, content: bytes, packages: str, kinds: str) -> None:
    told = catalog(image(tmp_path / "i", [(path, content)]))
    assert " ".join(package.name for package in told.packages) == packages
    assert ", ".join(unknown.kind for unknown in told.unknowns) == kinds
