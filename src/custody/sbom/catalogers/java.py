"""Archives of Java: each artifact in them, however deep, with what told of it ("JAR File Specification", Maven).

An artifact is told by its project files, its manifest, its place in a repository, or its name and classes
(`coordinates`). An archive that none of these tell of is listed by the name of its file, without a group, and counted.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from custody.ecosystems import of_type
from custody.formats import jar, licensetext, pom, purl
from custody.formats.zip import Archive, Member
from custody.sbom.catalogers import coordinates
from custody.sbom.catalogers.cataloger import Cataloger, ending
from custody.sbom.catalogers.coordinates import Coordinates, FileName
from custody.sbom.catalogers.fact import Fact, unknown

_ARCHIVES = ("jar", "war", "ear", "par", "sar", "nar", "kar", "far", "hpi", "jpi", "lpkg", "aar", "rar", "zap")
_NESTED = tuple(f".{ending}".encode() for ending in _ARCHIVES)
_TOLD = re.compile(rb"(?i:(?:.*/)?pom\.(?:properties|xml)|META-INF/MANIFEST\.MF)\Z", re.DOTALL)
_LICENSE = re.compile(r"(?i:(?:META-INF/)?(?:LICEN[SC]E|COPYING)(?![^/]*\.(?:jar|war|ear|zip|class|lpkg)\Z)[^/]*)\Z")
"""A text of a licence: what any of them says counts, since an archive may have several."""
_LICENSE_NAME = re.compile(_LICENSE.pattern.encode())
_PROJECT = re.compile(r"(?:.*/)?META-INF/maven/(?P<group>[^/]+)/(?P<name>[^/]+)/pom\.xml\Z", re.DOTALL)
ALONE = "Java archive without coordinates"
"""The kind of what is listed by the name of its file, and that no advisory can speak of."""
_MANIFEST = "meta-inf/manifest.mf"
_SPOOL = 8 << 20
_PIECE = 1 << 20
_FILE = 1 << 20
"""Bytes of a project file or manifest; of Java's own the largest has some hundred thousand."""
_DEEPEST = 10
"""Archives in each other: an EAR with a WAR with a JAR with JARs in it is four deep."""
_RATIO, _RATIO_FROM = 200, 32 << 20
_UNPACKED = 2 << 30
"""Bytes of packed archives within one file of an image, altogether."""
_NESTED_MOST, _PROJECTS, _NEEDS = 5_000, 5_000, 2_000
_PARENTS = 8
"""How far up the parents of a project are followed."""
_ENTRY, _XML, _INFLATED = 60, 6, 8
"""Work: of a member of a directory, of a byte of XML; and how many bytes are hashed or inflated in that of one."""


@dataclass(slots=True)
class _Spent:
    """By one file of the image, with all that is nested in it."""

    spend: Callable[[int], None]
    nested: int = 0
    unpacked: int = 0
    projects: int = 0

    def archive(self, size: int, packed: bool) -> None:
        """Raises ValueError where there are too many."""
        self.nested += 1
        self.unpacked += size if packed else 0
        if self.nested > _NESTED_MOST or self.unpacked > _UNPACKED:
            raise ValueError("an archive with too many archives in it")
        self.spend(512 + size // _INFLATED)

    def project(self) -> None:
        self.projects += 1
        if self.projects > _PROJECTS:
            raise ValueError("an archive with too many projects in it")


@dataclass(slots=True)
class _Contents:
    """What the telling members of one archive say."""

    manifest: dict[str, str] = field(default_factory=dict)
    projects: dict[tuple[str, str], tuple[Coordinates, str]] = field(default_factory=dict)
    """By group and name: the coordinates, and the member that has them."""
    poms: dict[tuple[str, str], pom.Pom] = field(default_factory=dict)
    outer: Coordinates | None = None
    """Of a project file that lies beside the classes, as development environments put it there."""
    nested: list[Member] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)
    """Kinds of what could not be read."""
    folders: set[bytes] = field(default_factory=set)
    """What the names of its classes begin with: three parts of them."""
    classes: bool = False
    license_texts: set[bytes] = field(default_factory=set)
    """Empty for one that could not be read."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an archive is: a part of the file; its path is that in the archive that it is nested in."""

    file: BinaryIO
    start: int
    length: int
    path: str
    within: str = ""
    depth: int = 0


def read(path: str, file: BinaryIO, spend: Callable[[int], None] = lambda _: None) -> Iterator[Fact]:
    """All artifacts in an archive. Raises ValueError for what is none; one that is nested and cannot be read is
    an unknown."""
    head = file.read(4)
    if head[:2] != b"PK" and path.lower().endswith((".rar", ".zip")):
        return  # WinRAR's archives, and what only has the name
    size = file.seek(0, 2)
    spent = _Spent(spend)
    if path.lower().endswith(".zip"):
        try:
            contents = _contents(Archive(file), spent)
        except ValueError:
            return
        if not contents.manifest or not (contents.classes or contents.nested):
            return
    yield from _archive(_Place(file, 0, size, path), spent)


def _archive(place: _Place, spent: _Spent) -> Iterator[Fact]:
    """The facts of one archive: of all that is in it, then of itself."""
    spent.archive(place.length, packed=False)
    archive = Archive(place.file, place.start, place.length)
    contents = _contents(archive, spent)
    if "weave-classes" in contents.manifest:
        return  # New Relic's agent weaves these into the library that they are called after
    name = coordinates.file_name(place.path)
    known = [told for told, _ in contents.projects.values()]
    chosen = (coordinates.own(known, name, contents.manifest) or (contents.outer if not known else None)
              or coordinates.of_place(place.path)
              or coordinates.of_known(name, contents.manifest, lambda start: _has(contents, start))
              or coordinates.of_manifest(contents.manifest, name))
    inner: list[str] = []
    for key, (project, told_by) in contents.projects.items():
        if project is not chosen:
            fact = _fact(project, contents, key, place, told_by)
            inner.append(url(fact))
            yield fact
    for member in contents.nested:
        yield from _nested(archive, member, place, spent, inner)
    for kind in sorted(contents.unread):
        yield unknown(kind)
    yield from _itself(chosen, name, contents, place, inner)


def _itself(chosen: Coordinates | None, name: FileName, contents: _Contents, place: _Place,
            inner: Sequence[str]) -> Iterator[Fact]:
    """The archive as a package: an artifact, or a name without a group, which is counted as well."""
    hashes = _hashes(place)
    needs = tuple(dict.fromkeys(inner[:_NEEDS]))
    if chosen is not None:
        yield _fact(chosen, contents, (chosen.group, chosen.name), place, "", needs, hashes, name.classifier)
        return
    if not contents.nested and (contents.classes or not inner):
        yield unknown(ALONE)  # what has others in it is an application, of which no advisory speaks
    if name.name and not place.path.lower().endswith(".zip"):
        version = coordinates.version_of(contents.manifest, name)
        yield Fact(type="generic", name=name.name, version=version, supplier=_maker(contents, None),
                   licenses=_licenses(contents, None, {}), requires=needs, hashes=hashes, within=place.within,
                   evidence=coordinates.NAME_ONLY, form="archive")


def _nested(archive: Archive, member: Member, place: _Place, spent: _Spent, inner: list[str]) -> Iterator[Fact]:
    """The facts of an archive within; of that itself the package URL goes to `inner`."""
    within = f"{place.within}!{member.name}" if place.within else member.name
    if place.depth >= _DEEPEST:
        yield unknown(f"Java archive more than {_DEEPEST} deep in others")
        return
    try:
        if part := archive.stored(member):
            facts = _archive(_Place(place.file, *part, member.name, within, place.depth + 1), spent)
            yield from _kept(facts, within, inner)
            return
        if member.size > _RATIO_FROM and member.size > _RATIO * member.packed:
            raise ValueError("an archive that is packed beyond all reason")
        spent.archive(member.size, packed=True)
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL) as file:
            for piece in archive.pieces(member):
                file.write(piece)
            facts = _archive(_Place(cast(BinaryIO, file), 0, member.size, member.name, within, place.depth + 1), spent)
            yield from _kept(facts, within, inner)
    except ValueError:
        yield unknown("unreadable Java archive in another")


def _kept(facts: Iterator[Fact], within: str, inner: list[str]) -> Iterator[Fact]:
    for fact in facts:
        if fact.within == within and fact.type in ("maven", "generic"):
            inner.append(url(fact))
        yield fact


def _contents(archive: Archive, spent: _Spent) -> _Contents:
    contents = _Contents()
    folders = contents.folders

    def telling(name: bytes) -> object:
        if name[-6:] == b".class":
            folders.add(b"/".join(name.split(b"/", 3)[:3]))
            return False
        return (_LICENSE_NAME.match(name) or name[-4:].lower() in _NESTED or name[-5:].lower() == b".lpkg"
                or _TOLD.match(name))

    spent.spend(_ENTRY * min(archive.count, archive.size // 46))
    for member in archive.members(telling):
        lower = member.name.lower()
        base = lower.rpartition("/")[2]
        if base not in ("pom.xml", "pom.properties", "manifest.mf") and not _LICENSE.match(member.name):
            contents.nested.append(member)
            continue
        try:
            spent.spend(512 + (_XML if base == "pom.xml" else 1) * min(member.size, _FILE))
            _member(archive, member, lower, contents, spent)
        except ValueError:
            if _LICENSE.match(member.name):
                contents.license_texts.add(b"")
                continue
            contents.unread.add(f"unreadable {'manifest' if base == 'manifest.mf' else base} in a Java archive")
    contents.classes = bool(folders)
    return contents


def _member(archive: Archive, member: Member, lower: str, contents: _Contents, spent: _Spent) -> None:
    """Raises ValueError for one that cannot be read."""
    if _LICENSE.match(member.name):
        contents.license_texts.add(archive.content(member, licensetext.LARGEST))
    elif lower == _MANIFEST:
        contents.manifest = jar.manifest(archive.content(member, _FILE))
    elif lower.endswith("pom.properties"):
        spent.project()
        told = coordinates.of_properties(jar.properties(archive.content(member, _FILE)))
        if told is not None:
            contents.projects[told.group, told.name] = told, member.name
    elif lower == "pom.xml":
        contents.outer = coordinates.of_project(pom.parse(archive.content(member, _FILE)))
    elif match := _PROJECT.match(member.name):
        spent.project()
        project = pom.parse(archive.content(member, _FILE))
        contents.poms[match["group"], match["name"]] = project
        told = coordinates.of_project(project)
        if told is not None:
            contents.projects.setdefault((told.group, told.name), (told, member.name))


def _fact(told: Coordinates, contents: _Contents, key: tuple[str, str], place: _Place, member: str,
          needs: tuple[str, ...] = (), hashes: tuple[tuple[str, str], ...] = (), classifier: str = "") -> Fact:
    """`member`: what in the archive told of it; empty for the archive itself."""
    project = contents.poms.get(key)
    within = "!".join(part for part in (place.within, member) if part)
    whole = contents if not member else None
    return Fact(
        type="maven", name=f"{told.group}/{told.name}", version=told.version,
        licenses=_licenses(whole, project, contents.poms),
        supplier=_maker(whole, project), requires=(*needs, *_needed(project)), hashes=hashes, within=within,
        evidence=told.evidence, qualifiers=(("classifier", classifier),) if classifier else (),
        form="part" if member else "archive", homepage=project.url if project else "",
        repository=project.repository if project else "")


def _needed(project: pom.Pom | None) -> tuple[str, ...]:
    """What it needs to run, as far as that is there: the names of artifacts."""
    if project is None:
        return ()
    return tuple(dict.fromkeys(
        f"{needed.group}/{needed.name}" for needed in project.dependencies[:_NEEDS]
        if needed.scope in ("compile", "runtime") and coordinates.valid(needed.group, needed.name, "1")))


def _licenses(contents: _Contents | None, project: pom.Pom | None, poms: Mapping[tuple[str, str], pom.Pom],
              ) -> tuple[str, ...]:
    """As they are written: of the project file, or of the nearest of its parents that is in the archive too; else of
    the manifest (OSGi Core, "Bundle-License"; Jenkins). Where none says anything, of the archive's own text, if that is
    the text of one: whoever says something else than his text does means it.
    """
    stated = _of_projects(project, poms)
    if contents is None:
        return stated
    if not stated:
        words = contents.manifest.get("bundle-license", "") or contents.manifest.get("plugin-license-name", "")
        parts = (part.partition(";")[0].strip(' "')
                 for part in re.split(r',(?=(?:[^"]*"[^"]*")*[^"]*\Z)', words[:2000]))
        stated = tuple(dict.fromkeys(part for part in parts if part and part != "<<EXTERNAL>>"))
    if contents.license_texts and not stated:
        told = {licensetext.recognise(text) for text in contents.license_texts}
        if len(told) == 1 and (license_ := told.pop()) is not None:
            return (license_,)
    return stated


def _of_projects(project: pom.Pom | None, poms: Mapping[tuple[str, str], pom.Pom]) -> tuple[str, ...]:
    for _ in range(_PARENTS):
        if project is None or project.licenses:
            return project.licenses if project is not None else ()
        above = project.parent
        project = None if above is None else poms.get(above[:2])
        if project is not None and above is not None and project.version != above[2]:
            return ()
    return ()


def _maker(contents: _Contents | None, project: pom.Pom | None) -> str:
    if project is not None and project.organization:
        return project.organization
    manifest = contents.manifest if contents is not None else {}
    return next((text for key in ("bundle-vendor", "implementation-vendor")
                 if (text := manifest.get(key, ""))[:1] not in ("", "%", "$")), "")[:200]


def url(fact: Fact) -> str:
    """The package URL of an artifact, or of a name without a group."""
    namespace, name = of_type(fact.type).split(fact.name)
    return str(purl.build(fact.type, name, namespace=namespace, version=fact.version,
                          qualifiers=dict(fact.qualifiers)))


def _has(contents: _Contents, start: str) -> bool:
    classes = start.encode()
    return any(folder.startswith(classes) or classes.startswith(folder + b"/") for folder in contents.folders)


def _hashes(place: _Place) -> tuple[tuple[str, str], ...]:
    """SHA-1, by which Maven Central is asked, and SHA-512."""
    known, strong = hashlib.sha1(usedforsecurity=False), hashlib.sha512()
    place.file.seek(place.start)
    left = place.length
    while left > 0 and (piece := place.file.read(min(_PIECE, left))):
        known.update(piece)
        strong.update(piece)
        left -= len(piece)
    return ("sha1", known.hexdigest()), ("sha512", strong.hexdigest())


CATALOGER = Cataloger(
    name="Java archive", version=2, types=("maven", "generic"), search=read, largest=2 << 30,
    listed=r"/[^/]+\.(?:jar|war|ear)\Z", paths=(ending(*_ARCHIVES, "zip", pattern=r".*\.[^/]+"),))
