"""RPM packages: the database of rpm(8) in its three forms, and the list of distroless images that have none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import msgspec

from custody.formats import rpmheader
from custody.formats.rpmheader import Header
from custody.kit.addresses import address
from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.fact import Fact, unknown
from custody.sbom.catalogers.listed import Telling
from custody.sbom.databases import berkeley, ndb, sqlite

_NONE = "(none)"
_FILE, _TEXT = 64, 16
"""What a file of a package counts for, and a name that it needs or gives (`Cataloger.work`)."""
_REQUIRES = 20_000
_CHOICE = re.compile(r"\(([^()]*(?:\([^()]*\)[^()]*)*)\)\Z")
_JOINT = re.compile(r" (or|and|with) ")
_OTHER_JOINT = re.compile(r" (?:if|unless|without|else) ")
_KEY = "gpg-pubkey"
"""Not a package: a key that rpm was told to trust."""


class _Read(NamedTuple):
    """A package, and its files, each in a line."""

    fact: Fact
    files: bytes


class Database:
    """The catalogers of RPM databases, of whose lists of files only those are kept that tell of packages."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self.catalogers = (Cataloger(
            name="rpm", version=f"1 {telling.version}", types=("rpm",), stream=self.read, largest=1 << 30,
            places=("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"), paths=(
                named("Packages", pattern=r"(?:.*/)?rpm/Packages", examples=("rpm/Packages",)),
                named("Packages.db", pattern=r"(?:.*/)?rpm/Packages\.db", examples=("rpm/Packages.db",)),
                named("rpmdb.sqlite", examples=("rpm/rpmdb.sqlite",)))),)

    def read(self, file: BinaryIO, spend: Callable[[int], None] = lambda _: None) -> Iterator[Fact]:
        """The packages first, then whose the files are."""
        packages: list[_Read] = []
        for blob in headers(file, spend):
            header = Header(blob)
            if header.text(rpmheader.NAME) == _KEY:
                continue
            fact = package(header, spend)
            if fact is None:
                yield unknown("rpm package without a name, a version or a release")
                continue
            files = header.files()
            spend(_FILE * len(files))
            packages.append(_Read(fact, "\n".join(files).encode()))
        yield from _related(packages)
        for fact, listed in packages:
            yield from self._telling.owned(fact.name, self._telling.lines(listed))


def _related(packages: Sequence[_Read]) -> Iterator[Fact]:
    """The packages, of whose needs and gifts only those are kept that meet another's: most names meet nothing."""
    needed = {name for fact, _ in packages for choices in fact.requires for name in choices.split("|")}
    paths = {name.encode() for name in needed if name.startswith("/")}
    gifts = [(*(name for name in fact.provides if name in needed),
              *sorted(path.decode("utf-8", "replace") for path in paths.intersection(files.split(b"\n"))))
             if paths else tuple(name for name in fact.provides if name in needed) for fact, files in packages]
    given = {fact.name for fact, _ in packages}.union(*gifts)
    for (fact, _), gift in zip(packages, gifts, strict=True):
        yield msgspec.structs.replace(fact, provides=gift, requires=tuple(
            choices for choices in fact.requires if not given.isdisjoint(choices.split("|"))))


def read_journal(_path: str, content: bytes) -> Iterator[Fact]:
    """SQLite's write-ahead log: rpm empties it when it ends, and what is in it may not be in the database yet."""
    if content[:4] in (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"):
        yield unknown("rpm database whose last changes are in a journal")


def headers(file: BinaryIO, spend: Callable[[int], None]) -> Iterator[bytes]:
    """By what the file is, not by its name. Raises ValueError."""
    head = file.read(32)
    file.seek(0)
    if head.startswith(sqlite.MAGIC):
        for row in sqlite.rows(file, "Packages", spend):
            if len(row) < 2 or not isinstance(row[1], bytes):
                raise ValueError("a package without a header")
            yield row[1]
    elif head.startswith(ndb.MAGIC):
        yield from ndb.values(file, spend)
    elif berkeley.is_hash(head):
        # The number of packages so far stands at number 0.
        yield from (value for key, value in berkeley.values(file, spend) if key.strip(b"\0"))
    else:
        raise ValueError("no database that rpm has ever written")


def package(header: Header, spend: Callable[[int], None] = lambda _: None) -> Fact | None:
    """What a header says of its package; None where it does not say which. Raises MalformedError."""
    name, version, release = (header.text(tag) for tag in (rpmheader.NAME, rpmheader.VERSION, rpmheader.RELEASE))
    if not (name and version and release):
        return None
    epochs = header.numbers(rpmheader.EPOCH)
    requires, provides = header.texts(rpmheader.REQUIRENAME), header.texts(rpmheader.PROVIDENAME)
    spend(_TEXT * (len(requires) + len(provides)))
    vendor = header.text(rpmheader.VENDOR)
    module = header.text(rpmheader.MODULARITYLABEL)
    return _fact(name, f"{version}-{release}", str(epochs[0]) if epochs else "", header.text(rpmheader.ARCH),
                 header.text(rpmheader.SOURCERPM), vendor, supplier=header.text(rpmheader.PACKAGER),
                 terms=header.text(rpmheader.LICENSE), module=module, requires=_names(requires),
                 provides=tuple(dict.fromkeys(provides)), homepage=address(header.text(rpmheader.URL)))


def _fact(name: str, version: str, epoch: str, arch: str, archive: str, vendor: str, *, supplier: str = "",
          terms: str = "", module: str = "", requires: tuple[str, ...] = (),
          provides: tuple[str, ...] = (), homepage: str = "") -> Fact:
    front = f"{epoch}:" if epoch else ""
    source = rpmheader.source(archive)
    return Fact(
        type="rpm", name=name, version=front + version, arch=arch, source=source.name if source else name,
        source_version=front + (source.version if source else version), supplier=vendor or supplier, vendor=vendor,
        licenses=(terms,) if terms else (), qualifiers=(("rpmmod", module),) if module else (),
        requires=requires, provides=provides, homepage=homepage)


def _names(requires: Iterable[str]) -> tuple[str, ...]:
    """What a package needs of others: alternatives with `|` between them (rpm.org, "Boolean Dependencies").

    A need that holds only if something else is there is left out, as what rpm itself must be able to do is.
    """
    names: dict[str, None] = {}
    for text in requires:
        if len(names) > _REQUIRES:
            raise ValueError(f"a package that needs more than {_REQUIRES} others")
        if text.startswith("rpmlib("):
            continue
        choice = _CHOICE.match(text)
        if choice is None:
            names[text] = None
        elif "(" not in choice[1].replace("(", "", choice[1].count(")")) and not _OTHER_JOINT.search(choice[1]):
            parts = [part.partition(" ")[0] for part in _JOINT.split(choice[1])[::2]]
            joints = set(_JOINT.findall(choice[1]))
            names.update({"|".join(parts): None} if joints == {"or"} else
                         dict.fromkeys(parts) if "or" not in joints else {})
    return tuple(names)


def read_manifest(_path: str, content: bytes) -> Iterator[Fact]:
    """A line a package: name, version-release, installed, built, vendor, epoch, size, arch, epoch as a number, source
    (CBL-Mariner, "Misc: rpm manifests of distroless images").
    """
    for line in content.decode("utf-8", "replace").splitlines():
        columns = ["" if column == _NONE else column for column in line.split("\t")]
        if not line.strip():
            continue
        name, version = columns[0], columns[1] if len(columns) > 1 else ""
        if len(columns) < 10 or not name or not all(version.partition("-")[::2]):
            yield unknown("rpm package without a name, a version or a release")
        elif name != _KEY:
            yield _fact(name, version, columns[5], columns[7], columns[9], columns[4])


MANIFEST = Cataloger(name="rpm manifest", version=1, types=("rpm",), read=read_manifest, paths=(
    named("container-manifest-2", examples=("rpmmanifest/container-manifest-2",)),), places=("var/lib/rpmmanifest",))
JOURNAL = Cataloger(name="rpm journal", version=1, read=read_journal, largest=32, head=True, paths=(
    named("rpmdb.sqlite-wal", examples=("rpm/rpmdb.sqlite-wal",)),))
