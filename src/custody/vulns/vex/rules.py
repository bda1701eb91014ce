"""Whether a rule of an ignore file is about a finding."""

from __future__ import annotations

import re
from collections.abc import Callable

from custody.errors import MalformedError
from custody.formats.bom import Package
from custody.formats.ignorefile import Rule
from custody.vulns.findings import Finding
from custody.vulns.vex.product import matches, parsed
from policylang.errors import InputError
from policylang.go.regex import compiled

_TYPES = {"pypi": "python", "golang": "go-module", "cargo": "rust-crate", "maven": "java-archive", "composer":
          "php-composer", "nuget": "dotnet", "pub": "dart-pub", "cocoapods": "pod", "hex": "hex", "cran": "R-package"}
"""Syft's names of package types, which grype's rules use, where they are not those of package URLs."""
_LANGUAGES = {"pypi": "python", "golang": "go", "cargo": "rust", "maven": "java", "composer": "php", "nuget": "dotnet",
              "pub": "dart", "npm": "javascript", "gem": "ruby", "hackage": "haskell", "hex": "elixir", "cran": "R"}
_FIX_STATES = {"fixed": "fixed", "will_not_fix": "wont-fix", "end_of_life": "wont-fix"}
_REGEX = re.compile(r"[\\^$*+?()\[\]{}|]|\.[*+]")


class Asking:
    """One rule, ready to be asked about many findings. Raises MalformedError for patterns that are none."""

    def __init__(self, rule: Rule, where: str) -> None:
        self.rule = rule
        self._purls = []
        for text in rule.purls:
            purl = parsed(text)
            if purl is None:
                raise MalformedError(f"{where}: {rule.place}", got=text, expected="a package URL: pkg:npm/lodash")
            self._purls.append(purl)
        try:
            self._paths = [glob(pattern.removeprefix("/")) for pattern in rule.paths]
            self._name, self._upstream = _pattern(rule.name), _pattern(rule.upstream)
        except InputError as error:
            raise MalformedError(f"{where}: {rule.place}", got=error.message, expected="a pattern") from None

    def holds(self, finding: Finding, package: Package | None) -> bool:
        rule = self.rule
        if rule.id and rule.id not in ((finding.cve, finding.id) if rule.own_name else
                                       (finding.cve, finding.id, *finding.aliases)):
            return False
        if self._purls:
            own = parsed(finding.purl)
            if own is None or not any(matches(purl, own) for purl in self._purls):
                return False
        if self._paths and not any(holds(place.path) for holds in self._paths for place in finding.locations):
            return False
        if not self._name(finding.package) or (rule.version and rule.version != finding.version):
            return False
        if rule.fix_state and rule.fix_state != _fix_state(finding):
            return False
        if rule.kind or rule.language or rule.upstream:
            if package is None:
                return False
            return ((not rule.kind or rule.kind in (package.type, _TYPES.get(package.type)))
                    and (not rule.language or rule.language.lower() == _LANGUAGES.get(package.type, "").lower())
                    and (not rule.upstream or self._upstream(package.source)))
        return True


def _fix_state(finding: Finding) -> str:
    return _FIX_STATES.get("fixed" if finding.fixed else finding.status, "not-fixed")


def _pattern(text: str) -> Callable[[str], bool]:
    """A plain name, or an expression for a whole name; empty: any name."""
    if not text:
        return lambda _: True
    if not _REGEX.search(text):
        return lambda name: name == text
    matcher = compiled(f"^(?:{text})$")
    return lambda name: matcher.search(name) is not None


def glob(pattern: str) -> Callable[[str], bool]:
    """Whether a path matches: `**` any folders, `*` and `?` within a name, `[…]`, `{a,b}`. Raises MalformedError."""
    parts, place, depth = [], 0, 0
    while place < len(pattern):
        char = pattern[place]
        if pattern.startswith("**/", place):
            parts.append("(?:.*/)?")
            place += 3
            continue
        if pattern.startswith("**", place):
            parts.append(".*")
            place += 2
            continue
        if char == "[" and (end := pattern.find("]", place + 2)) > 0:
            inside = pattern[place + 1:end].replace("\\", "\\\\").replace("[", "\\[")
            parts.append(f"[^{inside[1:]}]" if inside[0] in "!^" else f"[{inside}]")
            place = end + 1
            continue
        depth += (char == "{") - (char == "}" and depth > 0)
        parts.append({"*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")" if depth >= 0 else "\\}"}.get(char) or (
            "|" if char == "," and depth else re.escape(char)))
        place += 1
    matcher = compiled(f"(?s)^(?:{''.join(parts)})$")
    return lambda path: matcher.search(path) is not None
