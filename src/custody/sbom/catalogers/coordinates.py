"""Which Maven artifact an archive of Java is: by its project file, its manifest, its place in a repository, its name.

Nothing is asked of a network, and no group is guessed: what these do not tell stays an archive without coordinates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from custody.formats import pom as poms
from custody.sbom.catalogers.artifacts import KNOWN

_VALID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,255}\Z")
_VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+~-]{0,255}\Z")
_GROUP = re.compile(r"[a-z][a-z0-9_-]*(?:\.[A-Za-z0-9_-]+)+\Z")
_DIGIT = re.compile(r"-v?(?=[0-9])")
_SUFFIX = re.compile(
    r"(?i:[0-9].*|v[0-9].*|snapshot|(?:alpha|beta|rc|cr|m|b|build|rev|r|pre|preview|ea|sp|patch|p|java|jdk|jre|jdk15on)"
    r"[.]?[0-9.]*|jre|android|final|ga|release|incubating|pfd|stable|milestone[0-9.]*|eap[0-9.]*|dev|nightly"
    r"|debian|redhat.*|cdh.*|hadoop[0-9]?|wso2v?[0-9]*)\Z")
_CLASSIFIER = re.compile(
    r"-(?P<classifier>sources|javadoc|tests|test-sources|indy|native|natives|shaded|all|jar-with-dependencies"
    r"|(?:linux|osx|windows|macos|natives?-[a-z]+)(?:[-_](?:x86[-_](?:32|64)|aarch(?:_)?64|amd64|arm64|s390x?(?:_64)?"
    r"|ppcle_64|ppc64le|riscv64|loongarch_64))?(?:-(?:fedora|gnu|musl))?)\Z")
_UNDERSCORE = re.compile(r"(?P<name>.+?)_(?P<version>[0-9]+(?:\.[0-9]+){2,}.*)\Z")
_REPOSITORY = re.compile(
    r"(?:.*/)?(?:repository|maven2|maven-repo|m2|releases|system|maven)/(?P<group>[^.!][^!]*)/(?P<name>[^/!]+)"
    r"/(?P<version>[^/!]+)/(?P=name)-(?P=version)(?:-[^/!]+)?\.[a-z]+\Z")
_GRADLE = re.compile(r"(?:.*/)?files-2\.1/(?P<group>[^/]+)/(?P<name>[^/]+)/(?P<version>[^/]+)/[0-9a-f]{30,40}/[^/]+\Z")
_IVY = re.compile(r"(?:.*/)?(?:\.ivy2|ivy)/cache/(?P<group>[^/]+)/(?P<name>[^/]+)/(?:jars|bundles|wars|eclipse-plugins)"
                  r"/(?P=name)-(?P<version>[^/]+)\.jar\Z")
_VENDOR_ID, _SYMBOLIC, _CLASSES = "Implementation-Vendor-Id", "Bundle-SymbolicName", "file name and classes"
NAME_ONLY = "file name"
WEAK = frozenset((_VENDOR_ID, _SYMBOLIC, _CLASSES, NAME_ONLY))
"""Evidence that the name of the file is a part of, which whoever packaged it may have changed."""
_LONGEST = 255
"""Characters of a name: no file system has longer ones."""
_NO_GROUPS = frozenset(("org.apache", "com.sun", "com.oracle", "org.jboss", "org.codehaus", "com.ibm", "org.eclipse",
                        "com.google", "com.sun.xml", "net.java", "net.java.dev", "org.glassfish"))
"""Who made it, and no group of any artifact: many projects write so into the manifest."""


@dataclass(frozen=True, slots=True)
class Coordinates:
    """An artifact; `evidence` says what told so."""

    group: str
    name: str
    version: str
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class FileName:
    """What the name of an archive says: `log4j-1.2-api-2.19.0.jar`; empty where it does not."""

    stem: str
    name: str
    version: str = ""
    classifier: str = ""


def valid(group: str, name: str, version: str) -> bool:
    """Whether these may be coordinates: nothing of a template in them that was not filled in."""
    return valid_project(group, name) and valid_version(version)


def valid_project(group: str, name: str) -> bool:
    return bool(_VALID.match(group) and _VALID.match(name))


def valid_version(version: str) -> bool:
    return bool(_VERSION.match(version) and version.lower() not in ("unspecified", "unknown", "version", "null"))


def file_name(path: str) -> FileName:
    """Name and version are parted at the first `-` after which all is of a version: digits, and the words that are."""
    base = path.rpartition("/")[2]
    stem = (base.rpartition(".")[0] or base)[-_LONGEST:]
    match = _CLASSIFIER.search(stem)
    if match and (parted := _parted(stem[:match.start()])):
        return FileName(stem, *parted, match["classifier"])
    return FileName(stem, *(_parted(stem) or (stem, "")))


def _parted(stem: str) -> tuple[str, str] | None:
    places = [(match.start(), match.end()) for match in _DIGIT.finditer(stem) if match.start()]
    for start, end in places:
        if all(_SUFFIX.match(word) for word in stem[end:].split("-")):
            return stem[:start], stem[start + 1:]
    if len(places) == 1:
        return stem[:places[0][0]], stem[places[0][0] + 1:]
    match = _UNDERSCORE.match(stem)
    return (match["name"], match["version"]) if match else None


def of_place(path: str) -> Coordinates | None:
    """By where it is, in a repository of Maven, or a cache of Gradle or Ivy: their layouts have the coordinates."""
    if match := _GRADLE.match(path) or _IVY.match(path):
        return _checked(match["group"], match["name"], match["version"], "place in a cache")
    if match := _REPOSITORY.match(path):
        return _checked(match["group"].replace("/", "."), match["name"], match["version"], "place in a repository")
    return None


def of_properties(pairs: Mapping[str, str]) -> Coordinates | None:
    """By Maven's pom.properties."""
    return _checked(pairs.get("groupId", ""), pairs.get("artifactId", ""), pairs.get("version", ""), "pom.properties")


def of_project(project: poms.Pom) -> Coordinates | None:
    return _checked(project.group, project.name, project.version, "pom.xml")


def own(projects: Sequence[Coordinates], file: FileName, manifest: Mapping[str, str]) -> Coordinates | None:
    """Which of the projects that an archive has files of it is itself; None where it is none of them, or any."""
    best: tuple[int, Coordinates] | None = None
    for project in projects:
        names = (project.name, f"{project.group}.{project.name}", f"{project.group}_{project.name}")
        longest = max((len(name) for name in names if file.stem == name or file.name == name
                       or _follows(file.stem, f"{name}-{project.version}")), default=0)
        if longest and (best is None or longest > best[0]):
            best = longest, project
    if best is not None:
        return best[1]
    if len(projects) == 1:
        [project] = projects
        stated = symbolic_name(manifest)
        if not file.version and (not stated or stated.startswith(project.group) or stated.endswith(project.name)):
            return project
        if file.version == project.version and (file.name in project.name or project.name in file.name):
            return project
    return None


def of_manifest(manifest: Mapping[str, str], file: FileName) -> Coordinates | None:
    """By what a build tool wrote into the manifest, with the name that the file has.

    Jenkins writes coordinates. Maven's bundle plugin makes a symbolic name of group and artifact, of which it leaves
    out what would be there twice (Apache Felix, "maven-bundle-plugin"); an Implementation-Vendor-Id is the group.
    """
    version = version_of(manifest, file)
    if manifest.get("short-name") and manifest.get("plugin-version"):
        return _checked(manifest.get("group-id") or "org.jenkins-ci.plugins", manifest["short-name"],
                        manifest["plugin-version"].partition(" ")[0], "manifest of a Jenkins plugin")
    name, stated, vendor = file.name, symbolic_name(manifest), manifest.get("implementation-vendor-id", "").strip()
    group = _of_symbolic(stated, name)
    if not group and _GROUP.match(vendor) and vendor not in _NO_GROUPS and (
            not stated or stated == vendor or stated.startswith(f"{vendor}.")) and _agrees(manifest, file):
        return _checked(vendor, name, version, _VENDOR_ID)
    if group and group not in _NO_GROUPS:
        return _checked(group, name, version, _SYMBOLIC)
    return None


def of_known(file: FileName, manifest: Mapping[str, str], has: Callable[[str], bool]) -> Coordinates | None:
    """By a hand-made table of artifacts: the name of the file, and the classes that must be in it."""
    known = KNOWN.get(file.name)
    if known is None or not has(known[1]):
        return None
    return _checked(known[0], file.name, version_of(manifest, file), _CLASSES)


def version_of(manifest: Mapping[str, str], file: FileName) -> str:
    """Of the file's name, else of the manifest; a bundle's version has a fourth part behind a dot where Maven's has
    `-`, and so comes last."""
    return file.version or next((version for key in ("implementation-version", "bundle-version")
                                 if _VERSION.match(version := manifest.get(key, "").partition(" ")[0])
                                 and version[:1].isdigit()), "")


def symbolic_name(manifest: Mapping[str, str]) -> str:
    return manifest.get("bundle-symbolicname", "").partition(";")[0].strip()


def _agrees(manifest: Mapping[str, str], file: FileName) -> bool:
    """Whether title or version of a manifest are those of the file: it may be that of something that was put in."""
    words = set(re.split(r"[^a-z0-9]+", manifest.get("implementation-title", "").lower()))
    return manifest.get("implementation-version", "") == file.version or set(
        re.split(r"[^a-z0-9]+", file.name.lower())) <= words


def _of_symbolic(stated: str, name: str) -> str:
    """The group of a symbolic name that was made of it and this artifact; empty where that is not sure."""
    if not _GROUP.match(stated) or "." in name:
        return ""
    parts = stated.split(".")
    for count in range(len(parts) - 1, 1, -1):
        last, rest = parts[count - 1], "-".join(parts[count:])
        if name in (f"{last}-{rest}", f"{last}-{rest}".replace(".", "-")):
            return ".".join(parts[:count])
    if len(parts) > 2 and parts[-1] == name and "-" in name:
        return ".".join(parts[:-1])
    return ""


def _follows(stem: str, start: str) -> bool:
    return stem == start or (stem.startswith(start) and stem[len(start)] in "-._")


def _checked(group: str, name: str, version: str, evidence: str) -> Coordinates | None:
    group, name, version = group.strip(), name.strip(), version.strip()
    return Coordinates(group, name, version, evidence) if valid(group, name, version) else None
