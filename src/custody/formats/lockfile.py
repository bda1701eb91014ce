"""Lock files: what a build takes in, each entry pinned to a version and a hash (pip's requirements file format)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from custody.errors import MalformedError
from custody.formats import purl

SUPPORTED = ("requirements.txt",)
NOT_CHECKED = ("package-lock.json", "yarn.lock", "pnpm-lock.yaml", "poetry.lock", "uv.lock", "pdm.lock", "Pipfile.lock",
               "pylock.toml", "Cargo.lock", "go.sum", "Gemfile.lock", "composer.lock", "gradle.lockfile", "mix.lock")
_ENTRY = re.compile(r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*(?P<rest>.*)\Z")
_PIN = re.compile(r"==\s*(?P<version>[A-Za-z0-9!+._-]+)\s*(?P<marker>;.*)?\Z")
_HASH = re.compile(r"\s--hash[= ](\S+)")
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


def parse_requirements(data: bytes, path: str = "requirements.txt") -> Lock:
    """Read a lock; what is not pinned and hashed becomes a problem with its line. Raises MalformedError if not text."""
    if len(data) > _MAX_SIZE:
        raise MalformedError(path, got=f"{len(data)} bytes", expected=f"at most {_MAX_SIZE}")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise MalformedError(path, got=f"byte {error.start} that is not UTF-8", expected="UTF-8") from None
    entries: list[LockEntry] = []
    problems: list[LockProblem] = []
    for number, line in _logical_lines(text):
        problem = _read(line, number, entries)
        if problem:
            problems.append(LockProblem(number, problem))
    seen: dict[str, LockEntry] = {}
    for entry in entries:
        if entry.name in seen:
            problems.append(LockProblem(entry.line, f"{entry.name} is locked twice, first on line "
                                                    f"{seen[entry.name].line}"))
        seen.setdefault(entry.name, entry)
    return Lock(path, tuple(entries), tuple(problems))


def _read(line: str, number: int, entries: list[LockEntry]) -> str | None:
    if line.startswith("-"):
        return (f"option {line.split()[0]!r}: a lock names packages only; where they come from is the builder's, "
                "and a second index invites dependency confusion")
    hashes = tuple(_HASH.findall(line))
    match = _ENTRY.match(_HASH.sub("", line).strip())
    if match is None:
        return f"{line[:60]!r} is not a requirement"
    name = re.sub(r"[-_.]+", "-", match["name"]).lower()
    pin = _PIN.match(match["rest"])
    if pin is None:
        return f"{name}: got {match['rest'] or 'no version'!r}, expected a pin such as ==1.2.3"
    if not hashes:
        return f"{name} {pin['version']}: no hash, so any file of that name would do"
    for value in hashes:
        algorithm, _, digest = value.partition(":")
        if algorithm not in ("sha256", "sha384", "sha512") or not re.fullmatch(r"[0-9a-f]{64,128}", digest):
            return f"{name} {pin['version']}: hash {value!r}, expected sha256:<hex> or stronger"
    if pin["marker"]:
        return f"{name}: marker {pin['marker']!r}: what it selects depends on the machine, so it is not a lock"
    entries.append(LockEntry(name, pin["version"], hashes, number))
    return None


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Lines joined at a trailing backslash, without comments, with the number that each began on."""
    result: list[tuple[int, str]] = []
    parts: list[str] = []
    start = 1
    for number, raw in enumerate(text.splitlines(), 1):
        if not parts:
            start = number
        line = re.sub(r"(^|\s)#.*$", "", raw)
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        joined = " ".join([*parts, line]).strip()
        parts = []
        if joined:
            result.append((start, joined))
    if parts:
        result.append((start, " ".join(parts).strip()))
    return result
