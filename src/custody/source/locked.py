"""What lock files name, from where, and by which digest: the fields by which an input can be exchanged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from custody.ecosystems import python as spelled
from custody.errors import CustodyError
from custody.formats import purl
from custody.sbom.catalogers import yarnlock
from custody.sbom.catalogers.documents import indented, json_object, rows, table, toml_table, word, words

_LARGEST = 64 << 20
_MOST = 200_000
_SPECIFIER = re.compile(r"(@?[^@]+)@(.*)\Z", re.DOTALL)
_PNPM = re.compile(r"/?((?:@[^/]+/)?[^@/]+)[@/]([0-9][^(_]*)")
_GO = re.compile(r"(\S+) (\S+?)(/go\.mod)? (h1:[A-Za-z0-9+/]{43}=)\Z")
_GEM = re.compile(r"    (\S+) \(([^)\s]+)\)\Z")


@dataclass(frozen=True, slots=True)
class Locked:
    """One package of a lock file."""

    type: str
    name: str
    version: str
    url: str = ""
    """Where it is from, as the file says; empty for the ecosystem's registry."""
    digests: tuple[str, ...] = ()
    """As the file writes them."""
    commit: str = ""
    """Of a repository, where the file has it apart from the URL."""
    scripts: bool = False
    """It runs a program when it is installed."""
    released: datetime | None = None
    own: bool = False
    """A folder of the project itself: nothing comes from outside."""

    @property
    def purl(self) -> str | None:
        """None for what no package URL can name."""
        space, _, name = self.name.rpartition("/")
        try:
            return str(purl.build(self.type, name, namespace=space, version=self.version))
        except CustodyError:
            return None


def read(path: str, content: bytes) -> list[Locked]:
    """The packages of a lock file that has a reader. Raises ValueError, CustodyError for what is none."""
    if len(content) > _LARGEST:
        raise ValueError(f"a lock file of {len(content)} bytes, expected at most {_LARGEST}")
    try:
        entries: list[Locked] = []
        for entry in READERS[path.rpartition("/")[2]](path, content):
            entries.append(entry)
            if len(entries) > _MOST:
                raise ValueError(f"more than {_MOST} packages")
        return entries
    except (KeyError, RecursionError) as error:
        raise ValueError(f"a lock file without {error}") from None


def _npm(path: str, content: bytes) -> Iterator[Locked]:
    document = json_object(path, content)
    if "packages" in document:
        for place, value in table(document["packages"]).items():
            row = table(value)
            if not place or row.get("link") is True:
                continue
            if "node_modules/" not in place:
                yield Locked("npm", word(row.get("name")) or place, word(row.get("version")), own=True)
                continue
            name = word(row.get("name")) or place.rpartition("node_modules/")[2]
            if row.get("inBundle") is not True:
                yield Locked("npm", name, word(row.get("version")), word(row.get("resolved")),
                             tuple(word(row.get("integrity")).split()), scripts=row.get("hasInstallScript") is True)
        return
    if "dependencies" not in document and "lockfileVersion" not in document:
        raise ValueError("a lock file without packages")
    waiting = [table(document.get("dependencies"))]
    while waiting:
        for name, value in waiting.pop().items():
            row = table(value)
            version, url = word(row.get("version")), word(row.get("resolved"))
            if version.startswith("npm:"):
                name, _, version = version[4:].rpartition("@")
            elif ":" in version:
                version, url = "", version
            if row.get("bundled") is not True:
                yield Locked("npm", name, version, url, tuple(word(row.get("integrity")).split()))
            waiting.append(table(row.get("dependencies")))


def _yarn(_path: str, content: bytes) -> Iterator[Locked]:
    modern = b"\n__metadata:" in b"\n" + content
    for specifiers, name, version, row, _ in yarnlock.entries(content):
        digest = word(row.get("checksum")) if modern else word(row.get("integrity"))
        url = word(row.get("resolved"))
        if modern:
            match = _SPECIFIER.match(word(row.get("resolution")))
            asked = match[2] if match else ""
            url = "" if asked.startswith(("npm:", "patch:")) else asked
        elif not digest and "#" in url and len(url.rpartition("#")[2]) == 40 and not url.startswith("git"):
            digest = "sha1:" + url.rpartition("#")[2]
        yield Locked("npm", name, version, url, (digest,) if digest else (),
                     own=any("@link:" in text or "@file:" in text for text in specifiers))


def _pnpm(_path: str, content: bytes) -> Iterator[Locked]:
    document = indented(content)
    if "lockfileVersion" not in document:
        raise ValueError("a lock file without lockfileVersion")
    times = table(document.get("time"))
    for key, value in table(document.get("packages")).items():
        row, resolution = table(value), table(table(value).get("resolution"))
        match = _PNPM.match(key)
        name = word(row.get("name")) or (match[1] if match else key.rpartition("@")[0].lstrip("/") or key)
        url = word(resolution.get("tarball")) or word(resolution.get("repo"))
        digest = word(resolution.get("integrity"))
        yield Locked("npm", name, word(row.get("version")) or (match[2] if match else ""), url,
                     (digest,) if digest else (), word(resolution.get("commit")),
                     scripts=word(row.get("requiresBuild")) == "true", released=_moment(times.get(key)),
                     own="directory" in resolution)


def _python(path: str, content: bytes) -> Iterator[Locked]:
    base = path.rpartition("/")[2]
    if base == "Pipfile.lock":
        document = json_object(path, content)
        for group in ("default", "develop"):
            for name, value in table(document.get(group)).items():
                row = table(value)
                yield Locked("pypi", spelled(name), word(row.get("version")).lstrip("="),
                             word(row.get("git")) or word(row.get("file")), tuple(words(row.get("hashes"))),
                             word(row.get("ref")), own="path" in row)
        return
    document = toml_table(content)
    files = table(table(document.get("metadata")).get("files"))
    for row in rows(document.get("package") or document.get("packages")):
        source = table(row.get("source")) or table(row.get("vcs"))
        archives = [*rows(row.get("files") or files.get(word(row.get("name")))), *rows([row.get("sdist")]),
                    *rows(row.get("wheels")), *rows([row.get("archive")])]
        digests = [word(file.get("hash")) or ":".join(next(iter(table(file.get("hashes")).items()), ("", "")))
                   for file in archives]
        url = word(source.get("registry")) or word(source.get("git")) or word(source.get("url"))
        if source.get("type") == "legacy":
            url = ""
        elif source.get("type") == "git" or "git" in source:
            url = "git+" + url.removeprefix("git+")
        released = [moment for file in archives if (moment := _moment(file.get("upload-time")))]
        urls = [word(file.get("url")) for file in archives if word(file.get("url"))]
        yield Locked("pypi", spelled(word(row.get("name"))), word(row.get("version")),
                     url if not urls or url.startswith("git+") else urls[0],
                     tuple(digest for digest in digests if digest.strip(":")),
                     word(source.get("resolved_reference")) or word(source.get("commit-id")) or word(
                         row.get("revision")), scripts=bool(row.get("sdist")) and not row.get("wheels"),
                     released=max(released) if released else None,
                     own=bool({"virtual", "editable", "directory"} & source.keys())
                     or source.get("type") == "directory" or "directory" in row)


def _cargo(_path: str, content: bytes) -> Iterator[Locked]:
    document = toml_table(content)
    sums = table(document.get("metadata"))
    for row in rows(document.get("package")):
        name, version, source = (word(row.get(key)) for key in ("name", "version", "source"))
        digest = word(row.get("checksum")) or word(sums.get(f"checksum {name} {version} ({source})"))
        url = source.removeprefix("registry+").removeprefix("sparse+")
        yield Locked("cargo", name, version, url, (digest,) if digest else (), own=not source)


def _composer(path: str, content: bytes) -> Iterator[Locked]:
    document = json_object(path, content)
    for row in [*rows(document.get("packages")), *rows(document.get("packages-dev"))]:
        archive, source = table(row.get("dist")), table(row.get("source"))
        digest = word(archive.get("shasum")) or word(archive.get("reference"))
        yield Locked("composer", word(row.get("name")), word(row.get("version")).removeprefix("v"),
                     word(archive.get("url")) or word(source.get("url")), (digest,) if digest else (),
                     word(source.get("reference")), own=archive.get("type") == "path")


def _gem(_path: str, content: bytes) -> Iterator[Locked]:
    """Bundler's `CHECKSUMS` (2.5 and later) have the digests; without them every gem is without one."""
    section = remote = revision = ""
    sums: dict[tuple[str, str], str] = {}
    specs: list[tuple[str, str, str, str, bool]] = []
    for line in content.decode().splitlines():
        if line and line[0] != " ":
            section, remote, revision = line, "", ""
        elif section in ("GEM", "GIT", "PATH") and line.startswith("  remote: "):
            remote = line[10:]
        elif line.startswith("  revision: "):
            revision = line[12:]
        elif section in ("GEM", "GIT", "PATH") and (match := _GEM.match(line)):
            specs.append((match[1], match[2], ("git+" if section == "GIT" else "") + remote, revision,
                          section == "PATH"))
        elif section == "CHECKSUMS":
            gem, _, digest = line.strip().partition(") ")
            name, _, version = gem.partition(" (")
            sums[name, version] = digest
    for name, version, url, commit, own in specs:
        digest = sums.get((name, version), "")
        yield Locked("gem", name, version, url, (digest,) if digest else (), commit, own=own)


def _go(_path: str, content: bytes) -> Iterator[Locked]:
    for line in content.decode().splitlines():
        match = _GO.match(line)
        if match is None and line.strip():
            raise ValueError("a line that is no module, version and h1: digest")
        if match is not None and not match[3]:
            yield Locked("golang", match[1], match[2], "", (match[4],))


def _moment(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


READERS: dict[str, Callable[[str, bytes], Iterator[Locked]]] = {
    "package-lock.json": _npm, "npm-shrinkwrap.json": _npm, "yarn.lock": _yarn, "pnpm-lock.yaml": _pnpm,
    "poetry.lock": _python, "uv.lock": _python, "pdm.lock": _python, "Pipfile.lock": _python, "pylock.toml": _python,
    "Cargo.lock": _cargo, "composer.lock": _composer, "Gemfile.lock": _gem, "go.sum": _go}
"""By the file's name."""
