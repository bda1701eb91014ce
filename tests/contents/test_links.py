"""Links that give files telling names, or hide where entries go."""

from __future__ import annotations

from pathlib import Path

import pytest

from custody.errors import MalformedError
from custody.sbom.catalog import catalog
from tests.contents.images import METADATA, OS_RELEASE, STATUS, Member, image

_SITE = "usr/lib/python3/dist-packages/"
_FLASK = _SITE + "flask_login-0.6.2.dist-info"
_DEBS = {"libssl3", "libc6", "cdebconf"}
_NPM = b'{"name":"n","version":"1","description":"' + b"longer than a program's header is " * 3 + b'"}'


def _said(folder: Path, *layers: list[Member]) -> tuple[set[str], set[str]]:
    told = catalog(image(folder, *layers))
    return {package.name for package in told.packages}, {unknown.kind for unknown in told.unknowns}


@pytest.mark.parametrize(("links", "packages"), [
    ([("opt/m", METADATA), (_FLASK + "/METADATA", ("symlink", "/opt/m"))], {"Flask_Login"}),
    ([("opt/x/METADATA", METADATA), (_FLASK, ("symlink", "/opt/x"))], {"Flask_Login"}),
    ([("opt/m", _NPM), ("node_modules/n/package.json", ("symlink", "../../opt/m"))], {"n"}),
    ([("s", ("symlink", _FLASK)), ("s/METADATA", METADATA)], {"Flask_Login"}),
    ([("a", ("symlink", "/var/lib/dpkg")), ("a/status", STATUS)], _DEBS),
    ([("x", ("symlink", "/opt/d")), ("opt/d/status", STATUS), ("var/lib/dpkg", ("link", "x"))], _DEBS),
    ([("x", ("symlink", "/opt/s")), ("opt/s", STATUS), ("var/lib/dpkg/status", ("link", "x"))], _DEBS),
    ([("opt/b", STATUS), ("var/lib/dpkg/status", ("symlink", "/opt/c")), ("opt/c", ("link", "opt/b"))], _DEBS),
    ([("opt/m", _NPM), ("node_modules/n/package.json", ("link", "opt/m"))], {"n"})])
def test_a_name_that_a_link_gives(tmp_path: Path, links: list[Member], packages: set[str]) -> None:
    assert _said(tmp_path / "1", links) == (packages, set())
    apart = _said(tmp_path / "2", *[[member] for member in links])
    assert apart[0] == packages or apart[1] == {"hard link into another layer"}


@pytest.mark.parametrize(("content", "package"), [(METADATA, "Flask_Login"), (_NPM, "n"), (STATUS, "libc6")])
def test_links_of_several_kinds_to_one_file(tmp_path: Path, content: bytes, package: str) -> None:
    """Each is read as its own name says, whichever comes first."""
    links: list[Member] = [("n/package.json", ("link", "opt/m")), (_FLASK + "/METADATA", ("link", "opt/m")),
                           ("var/lib/dpkg/status", ("link", "opt/m"))]
    for place, order in enumerate((links, links[::-1])):
        assert package in _said(tmp_path / f"{place}", [("opt/m", content), *order])[0]


@pytest.mark.parametrize(("links", "kind"), [
    ([("opt/b", b"PK"), ("a.jar", ("symlink", "opt/b"))], "unreadable Java archive file"),
    ([("opt/b", b"PK"), ("a.jar", ("link", "opt/b"))], "unreadable Java archive file"),
    ([("opt/g/x.gemspec", b""), ("ruby/specifications", ("symlink", "/opt/g"))],
     "Ruby gem without a name and a version")])
def test_a_link_to_what_is_only_counted(tmp_path: Path, links: list[Member], kind: str) -> None:
    assert _said(tmp_path / "1", links) == (set(), {kind})


def test_a_link_to_nothing_counts_nothing(tmp_path: Path) -> None:
    assert _said(tmp_path / "1", [("a.jar", ("symlink", "nowhere")), ("etc/os-release", OS_RELEASE)]) == (set(), set())


def test_a_file_of_two_telling_names_says_both(tmp_path: Path) -> None:
    both = METADATA.partition(b"\n\n")[0] + b"\n\n" + STATUS
    packages, _ = _said(tmp_path / "1", [("opt/b", both), ("var/lib/dpkg/status", ("symlink", "/opt/b")),
                                         (_FLASK + "/METADATA", ("symlink", "/opt/b"))])
    assert packages == {"Flask_Login", *_DEBS}


@pytest.mark.parametrize("below", [True, False])
def test_one_name_that_means_two_files_in_a_layer(tmp_path: Path, below: bool) -> None:
    first: list[Member] = [("a", ("symlink", "r1"))]
    rest: list[Member] = [("a/x.dist-info/METADATA", METADATA), ("a", ("symlink", "r2")),
                          ("a/x.dist-info/METADATA", b"Name: good\nVersion: 1\n\n")]
    with pytest.raises(MalformedError, match="in the place of a symbolic link that others of its layer went through"):
        _said(tmp_path / "1", *([first, rest] if below else [first + rest]))
    assert _said(tmp_path / "2", [*first, *first, *rest[:1], *first]) == ({"Flask_Login"}, set())


def test_whiteouts_spare_their_own_layer(tmp_path: Path) -> None:
    top: list[Member] = [(_FLASK + "/METADATA", METADATA), ("usr/.wh..wh..opq", b""), ("usr/lib/.wh.python3", b"")]
    assert _said(tmp_path / "1", [("usr/lib/python3/n/package.json", _NPM)], top) == ({"Flask_Login"}, set())
