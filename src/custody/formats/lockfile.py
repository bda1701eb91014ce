"""Lock files: what a build takes in, each entry pinned to a version and a hash (pip's requirements file format)."""

from __future__ import annotations

import codecs
import re
import shlex
from dataclasses import dataclass

from custody.errors import MalformedError
from custody.formats import purl

NOT_CHECKED = ("package-lock.json", "yarn.lock", "pnpm-lock.yaml", "poetry.lock", "uv.lock", "pdm.lock", "Pipfile.lock",
               "pylock.toml", "Cargo.lock", "go.sum", "Gemfile.lock", "composer.lock", "gradle.lockfile", "mix.lock",
               "npm-shrinkwrap.json", "bun.lock", "bun.lockb", "deno.lock", "packages.lock.json", "pubspec.lock",
               "Podfile.lock", "Package.resolved", "conan.lock", "stack.yaml.lock", "pixi.lock", "conda-lock.yml")
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_ENTRY = re.compile(rf"(?P<name>{_NAME})\s*(?:\[\s*(?:{_NAME}\s*(?:,\s*{_NAME}\s*)*)?\]\s*)?(?P<rest>.*)\Z")
_PIN = re.compile(r"==\s*(?P<version>[^\s;,=][^\s;,]*)\s*(?P<marker>;.*)?\Z")
_VERSION = re.compile(r"v?(?:[0-9]+!)?[0-9]+(?:\.[0-9]+)*(?:[-_.]?(?:alpha|a|beta|b|preview|pre|c|rc)[-_.]?[0-9]*)?"
                      r"(?:-[0-9]+|[-_.]?(?:post|rev|r)[-_.]?[0-9]*)?(?:[-_.]?dev[-_.]?[0-9]*)?"
                      r"(?:\+[a-z0-9]+(?:[-_.][a-z0-9]+)*)?\Z", re.IGNORECASE)
"""PEP 440, appendix B; what is none may be the name of a file to pip (`six==1.0.zip`)."""
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")
_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")
_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}
_MARKS = ((codecs.BOM_UTF32_LE, "UTF-32"), (codecs.BOM_UTF32_BE, "UTF-32"), (codecs.BOM_UTF16_LE, "UTF-16"),
          (codecs.BOM_UTF16_BE, "UTF-16"))
_MAX_SIZE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LockEntry:
    """One distribution: `hashes` are the digests, any of which its file may have."""

    name: str
    version: str
    hashes: tuple[str, ...]
    line: int

    @property
    def purl(self) -> str:
        return str(purl.build("pypi", self.name, version=self.version))


@dataclass(frozen=True, slots=True)
class LockProblem:
    """Why a line cannot be trusted."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Lock:
    path: str
    entries: tuple[LockEntry, ...]
    problems: tuple[LockProblem, ...]


def is_requirements(path: str) -> bool:
    """`requirements.txt`, `dev-requirements.txt`, `requirements/prod.txt`: what people call the files of `pip -r`."""
    folder, _, name = path.lower().rpartition("/")
    return name.endswith(".txt") and ("requirements" in name or folder.rpartition("/")[2] == "requirements")


def parse_requirements(data: bytes, path: str = "requirements.txt") -> Lock:
    """Read a lock as pip reads it; what is not pinned and hashed, or might be read otherwise, becomes a problem.

    Raises MalformedError if it is not text.
    """
    if len(data) > _MAX_SIZE:
        raise MalformedError(path, got=f"{len(data)} bytes", expected=f"at most {_MAX_SIZE}")
    if (problem := _encoding(data)) is not None:
        return Lock(path, (), (problem,))
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise MalformedError(path, got=f"byte {error.start} that is not UTF-8", expected="UTF-8") from None
    entries, problems = _parse(text)
    marked = data.startswith(codecs.BOM_UTF8)
    if not problems and not marked and not data.isascii() and _parse(data.decode("latin-1")) != (entries, problems):
        # Without a mark pip decodes by the locale; a byte of a letter may be the end of a line to it.
        problems.append(LockProblem(1, "what it names depends on the locale of the machine that reads it: write it in "
                                       "ASCII"))
    return Lock(path, tuple(entries), tuple(problems))


def _encoding(data: bytes) -> LockProblem | None:
    """Why pip would decode it as anything but UTF-8: a byte order mark, or a coding line (PEP 263) at the top."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return LockProblem(1, f"begins with the byte order mark of {name}, as which pip would decode it: expected "
                                  "UTF-8")
    if data.startswith(codecs.BOM_UTF8):
        return None  # pip looks no further
    for number, line in enumerate(data.split(b"\n", 2)[:2], 1):
        match = _CODING.search(line) if line.startswith(b"#") else None
        if match is not None:
            name = match[1].decode()
            try:
                canonical = codecs.lookup(name).name
            except LookupError:
                canonical = ""
            if canonical == "utf-8" or (canonical == "ascii" and data.isascii()):
                return None
            return LockProblem(number, f"declares the encoding {name}, as which pip would decode it (PEP 263): "
                                       "expected UTF-8")
    return None


def _parse(text: str) -> tuple[list[LockEntry], list[LockProblem]]:
    entries: list[LockEntry] = []
    problems: list[LockProblem] = []
    for number, line in _logical_lines(text):
        problem = _read(line, number, entries)
        if problem:
            problems.append(LockProblem(number, problem))
    first: dict[str, LockEntry] = {}
    for entry in entries:
        if entry.name in first:
            problems.append(LockProblem(entry.line, f"{entry.name} is locked twice, first on line "
                                                    f"{first[entry.name].line}"))
        first.setdefault(entry.name, entry)
    return entries, problems


def _read(line: str, number: int, entries: list[LockEntry]) -> str | None:
    if match := _VARIABLE.search(line):
        return f"{match[0]}: pip puts the environment's value in its place, so what it names depends on the machine"
    words = line.split(" ")
    place = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    requirement, hashes, refusal = " ".join(words[:place]).strip(), [], None
    try:
        options = shlex.split(" ".join(words[place:]))
    except ValueError as error:
        return f"{line[:60]!r}: options that cannot be taken apart: {error}"
    while options and refusal is None:
        word = options.pop(0)
        option, equals, value = word.partition("=")
        if option != "--hash" or not (equals or options):
            refusal = option if word.startswith("-") else word
        else:
            hashes.append(value if equals else options.pop(0))
    if refusal is not None:
        return (f"option {refusal!r}: a lock names packages and their hashes only; where they come from is the "
                "builder's, and a second index invites dependency confusion")
    match = _ENTRY.match(requirement)
    if match is None:
        return f"{line[:60]!r} is not a requirement"
    name = re.sub(r"[-_.]+", "-", match["name"]).lower()
    pin = _PIN.match(match["rest"])
    if pin is None or not _VERSION.match(pin["version"]):
        return f"{name}: got {match['rest'] or 'no version'!r}, expected a pin such as ==1.2.3"
    if not hashes:
        return f"{name} {pin['version']}: no hash, so any file of that name would do"
    for value in hashes:
        algorithm, _, digest = value.partition(":")
        if len(digest) != _DIGITS.get(algorithm) or not re.fullmatch(r"[0-9a-f]+", digest):
            return f"{name} {pin['version']}: hash {value!r}, expected sha256:<hex> or stronger"
    if pin["marker"]:
        return f"{name}: marker {pin['marker']!r}: what it selects depends on the machine, so it is not a lock"
    entries.append(LockEntry(name, pin["version"], tuple(hashes), number))
    return None


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Lines as pip joins and strips them, with the number that each began on.

    A line ends where str.splitlines says. A backslash at its end joins it with the next, without a space between and
    before comments are looked for, unless it is a comment itself; a comment that follows a joined line ends that one.
    """
    result: list[tuple[int, str]] = []
    parts: list[str] = []
    start = 1
    for number, raw in enumerate(text.splitlines(), 1):
        comment = raw.lstrip().startswith("#")
        if not parts:
            start = number
        if raw.endswith("\\") and not comment:
            parts.append(raw.strip("\\"))
            continue
        parts.append(" " + raw if comment else raw)
        result.append((start, "".join(parts)))
        parts = []
    if parts:
        result.append((start, "".join(parts)))
    return [(number, line) for number, joined in result if (line := _without_comment(joined).strip())]


def _without_comment(line: str) -> str:
    """Up to the first '#' at the start or behind white space."""
    place = line.find("#")
    while place > 0 and not line[place - 1].isspace():
        place = line.find("#", place + 1)
    return line if place < 0 else line[:place]
