"""Ruby gems: specifications, installed and of sources (RubyGems, "Specification Reference"); Gemfile.lock."""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.kit.addresses import address
from custody.sbom.catalogers.cataloger import Cataloger, ending, named
from custody.sbom.catalogers.documents import hexadecimal
from custody.sbom.catalogers.fact import Fact, unknown

_STUB = re.compile(r"^# stub: (\S+) (\S+) (\S+)", re.MULTILINE)
_QUOTED = r"""(?:"([^"\n]*)"|'([^'\n]*)'|%q<([^>\n]*)>|%q\{([^}\n]*)\})"""
_FIELD = re.compile(rf"^[ \t]*\w+\.(name|version|platform|license|homepage)\s*=\s*(?:Gem::Version\.new\(?\s*)?{_QUOTED}"
                    r"(?:\.freeze)?[ \t]{0,20}\)?[ \t]{0,20}(?:#.*)?(?:if .*)?$", re.MULTILINE)
_LISTS = re.compile(r"^[ \t]*\w+\.(licenses|authors)\s*=\s*\[([^\]\n]*)\]", re.MULTILINE)
_NEEDS = re.compile(rf"^[ \t]*\w+\.add_(?:runtime_)?dependency\s*\(?\s*{_QUOTED}", re.MULTILINE)
_WORD = re.compile(_QUOTED)
_SOURCE = re.compile(rf"[\"']source_code_uri[\"']\s{{0,8}}(?:\.freeze\s{{0,8}})?=>\s{{0,8}}{_QUOTED}")
_LOCKED = re.compile(r"([A-Za-z0-9][\w.-]*)(?: \(([^)]*)\))?(!)?\Z")
_PLATFORM = re.compile(r"([0-9][0-9A-Za-z.]*)-(.+)\Z")
_SUM = re.compile(r"(\S+) \(([^)]*)\) sha256=(\w+)")
_SECTION = re.compile(r"[A-Z][A-Z ]*\Z")


def _quoted(match: re.Match[str], first: int = 1) -> str:
    return next((text for text in match.groups()[first - 1:first + 3] if text is not None), "")


def _specification(content: bytes) -> Fact | None:
    text = content.decode("utf-8", "replace")
    fields: dict[str, str] = {}
    for match in _FIELD.finditer(text):
        fields.setdefault(match[1], _quoted(match, 2))
    lists = {match[1]: tuple(_quoted(word) for word in _WORD.finditer(match[2])) for match in _LISTS.finditer(text)}
    stub, source = _STUB.search(text), _SOURCE.search(text)
    name, version = (stub[1], stub[2]) if stub else (fields.get("name", ""), fields.get("version", ""))
    platform = stub[3] if stub else fields.get("platform", "")
    if not name or not version or not version[0].isdigit():
        return None
    licenses = lists.get("licenses") or ((fields["license"],) if fields.get("license") else ())
    return Fact(type="gem", name=name, version=version, licenses=licenses, supplier=", ".join(lists.get("authors", ())),
                requires=tuple(dict.fromkeys(_quoted(match) for match in _NEEDS.finditer(text))),
                qualifiers=() if platform in ("", "ruby") else (("platform", platform),),
                homepage=address(fields.get("homepage", "")), repository=address(_quoted(source)) if source else "")


def read_installed(_path: str, content: bytes) -> tuple[Fact, ...]:
    """`specifications/NAME-VERSION.gemspec`: RubyGems writes values out, and name and version into a comment on top."""
    fact = _specification(content)
    return (unknown("Ruby gem without a name and a version") if fact is None else fact,)


def read_source(_path: str, content: bytes) -> tuple[Fact, ...]:
    """A gem's own sources: often its version is in a file of Ruby, and then it is nobody's dependency here."""
    fact = _specification(content)
    return () if fact is None else (fact,)


def read_lock(_path: str, content: bytes) -> Iterator[Fact]:
    """Gemfile.lock (Bundler, `LockfileParser`): gems four spaces in, what each needs six."""
    section = ""
    gems: list[tuple[str, str, str, list[str]]] = []
    sums: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {}
    for line in content.decode("utf-8", "replace").replace("\r\n", "\n").split("\n"):
        if _SECTION.match(line):
            section = line
            continue
        indent, bare = len(line) - len(line.lstrip(" ")), line.strip()
        if section in ("GEM", "GIT", "PATH", "PLUGIN SOURCE") and indent in (4, 6):
            match = _LOCKED.match(bare)
            if match is None:
                raise ValueError(f"{bare[:60]!r} is no gem")
            if indent == 4:
                gems.append((match[1], match[2] or "", section, []))
            elif gems:
                gems[-1][3].append(match[1])
        elif section == "CHECKSUMS" and (match := _SUM.match(bare)):
            sums[match[1], match[2]] = hexadecimal("sha256", match[3])
    if not gems and not section:
        raise ValueError("a lock file without gems")
    for name, version, _, needed in gems:
        platform = _PLATFORM.match(version)
        yield Fact(type="gem", name=name, version=platform[1] if platform else version, requires=tuple(needed),
                   hashes=sums.get((name, version), ()),
                   qualifiers=(("platform", platform[2]),) if platform else ())


INSTALLED = Cataloger(
    name="Ruby gem", version=1, types=("gem",), read=read_installed,
    listed=r"/[^/]+\.gemspec\Z|/specifications/", paths=(
        ending("gemspec", pattern=r"(?:.*/)?specifications/.*", examples=("specifications/a.gemspec",)),))
SOURCE = Cataloger(name="gem specification", version=1, types=("gem",), read=read_source, declares=True,
                   paths=(ending("gemspec", pattern=r"(?!(?:.*/)?specifications/).*"),))
LOCK = Cataloger(name="Bundler lock", version=1, types=("gem",), read=read_lock, declares=True, largest=16 << 20,
                 paths=(named("Gemfile.lock", "gems.locked", "Gemfile.next.lock"),
                        ending("lock", pattern=r"(?:.*/)?[^/]*\.gemfile\.lock")))
