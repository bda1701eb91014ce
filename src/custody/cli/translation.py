"""Command lines of Trivy, Grype, syft and osv-scanner, as custody's: what a refusal tells people to type instead."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

_TOOLS = ("trivy", "grype", "syft", "osv-scanner")
_SCHEMES = {"image": "", "i": "", "fs": "dir:", "filesystem": "dir:", "rootfs": "rootfs:", "repo": "git:",
            "repository": "git:", "sbom": "sbom:"}
"""Trivy's kinds of targets."""
_ALIKE = {"docker-archive:": "archive:", "oci-archive:": "archive:", "oci-dir:": "oci:", "registry:": ""}
_WITH_VALUE = frozenset((
    "--severity", "--exit-code", "--scanners", "--security-checks", "--format", "-f", "--output", "-o", "--input",
    "--file", "--fail-on", "--platform", "--exclude", "--lockfile", "-L", "--sbom", "-S", "--cache-dir",
    "--timeout", "--config", "-c", "--ignorefile", "--vex", "--scope", "-s", "--from", "--name", "--skip-dirs",
    "--skip-files", "--db-repository", "--username", "--password", "--template", "-t", "--pkg-types",
    "--vuln-type", "--source-name", "--source-version", "--docker", "-D", "--distro", "--catalogers",
    "--select-catalogers", "--base-path", "--java-db-repository", "--show-suppressed", "--verbosity", "--serve",
    "--ignore-policy", "--detection-priority", "--sort-by"))
_KEPT = frozenset(("--severity", "--exit-code", "--scanners", "--fail-on", "--platform", "--exclude", "--ignorefile",
                   "--source-name", "--source-version"))
_BARE = frozenset(("--ignore-unfixed", "--only-fixed"))
_FORMATS = {"cyclonedx": "cyclonedx-json", "spdx": "spdx-tag-value", "syft-table": "table", "grype": "table",
            "vertical": "table", "markdown": "table", "gh-annotations": "sarif", "text": "table",
            "embedded-vex-json": "openvex"}
_SBOMS = frozenset(("cyclonedx-xml", "spdx-json", "spdx-tag-value", "github", "syft-json", "purls"))


def line(arguments: Sequence[str]) -> str | None:
    """The whole command, where the arguments are those of another scanner; None where they are not."""
    words = list(arguments)
    tool = words.pop(0) if words and words[0] in _TOOLS else ""
    command, scheme = "sbom" if tool == "syft" else "scan", ""
    options, targets, formats, file = [], [], [], ""
    first = True
    if not tool and not _foreign(words):
        return None
    while words:
        word = words.pop(0)
        if word.startswith("-") and len(word) > 1:
            name, equals, value = word.partition("=")
            if not equals and name in _WITH_VALUE and words:
                value = words.pop(0)
            if name in ("--input", "--docker", "-D"):
                targets.append(f"archive:{value}")
            elif name in ("--lockfile", "-L"):
                targets.append(f"file:{value.rpartition(':')[2]}")
            elif name in ("--sbom", "-S"):
                targets.append(f"sbom:{value}")
            elif name in ("--format", "-f") or (name in ("-o", "--output") and _is_format(value)):
                if value.lower() in ("negligible", "low", "medium", "high", "critical"):
                    options.append(f"--fail-on {value.lower()}")
                else:
                    formats.append(_FORMATS.get(value, value))
            elif name in ("-o", "--output", "--file"):
                file = value
            elif name in _KEPT:
                options.append(f"{name} {shlex.quote(value)}")
            elif name in _BARE:
                options.append(name)
            continue
        if first and word in ("scan", "vulnerability", "source", "list"):
            continue
        if first and not tool and word == "sbom":
            command = "sbom"
            continue
        if first and word in ("packages", "attest") and tool in ("", "syft"):
            command = "sbom"
        elif first and word in _SCHEMES and (tool in ("", "trivy") or word == "image"):
            scheme = _SCHEMES[word]
        elif first and word == "dir" and not tool:
            scheme = "dir:"
        else:
            targets.append(_target(scheme, word, folder=tool == "osv-scanner"))
            first = False
            continue
    if not targets:
        return None
    if command == "scan" and formats and all(form in _SBOMS for form in formats):
        command = "sbom"
    if file and not formats:
        formats = ["table"]
    options += [f"-o {form}" + (f"={shlex.quote(file)}" if file and form == formats[-1] else "") for form in formats]
    program = "custody --offline" if "--offline" in arguments else "custody"
    return " ".join([program, command, shlex.quote(targets[-1]), *options])


def _foreign(words: Sequence[str]) -> bool:
    """Whether the first word is what others call a command of theirs, or an image, as Grype's and syft's targets."""
    word = next((word for word in words if not word.startswith("-")), "")
    return word in _SCHEMES or word in ("scan", "sbom", "packages", "dir", "vulnerability") or any(
        sign in word for sign in ":/.")


def _is_format(value: str) -> bool:
    return "." not in value.partition("=")[0] and "/" not in value.partition("=")[0]


def _target(scheme: str, word: str, *, folder: bool) -> str:
    for prefix, ours in _ALIKE.items():
        if word.startswith(prefix):
            return ours + word.removeprefix(prefix)
    if folder and ":" not in word:
        return f"dir:{word}"
    return scheme + word if scheme and not word.startswith(scheme) else word
