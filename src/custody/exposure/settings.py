"""Risky settings of an image: of its configuration and history (image-spec config.md), and of files in its layers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from custody.formats.exposed import Exposure

_EXAMPLES = 5
_ROOT = ("", "0", "root")
_REMOTE_ADD = re.compile(r"\bADD\s+(?:--\S+\s+)*[^\n]{0,200}?(https?://\S+)")
_PIPED = re.compile(r"\b(?:curl|wget)\b[^|;&\n]{0,400}\|\s*(?:sudo\s+)?(?:ba|da|z|k|a)?sh\b")
_SET_ID, _STICKY, _WORLD = 0o6000, 0o1000, 0o002
_CACHES = (("var/cache/apt/archives/", ".deb"), ("var/lib/apt/lists/", "_Packages"), ("var/lib/apt/lists/", ".lz4"),
           ("var/cache/apk/", ".apk"), ("var/cache/dnf/", ".rpm"), ("var/cache/yum/", ".rpm"), ("root/.cache/pip/", ""),
           ("root/.npm/_cacache/", ""), ("root/.m2/repository/", ".jar"), ("root/.cargo/registry/cache/", ".crate"),
           ("go/pkg/mod/cache/download/", ".zip"))


class _Row(NamedTuple):
    title: str
    severity: str
    remedy: str


RISKS: Final[Mapping[str, _Row]] = {
    "root-user": _Row("The image runs as root", "medium", "USER with a number above 0, at the end of the Dockerfile"),
    "no-healthcheck": _Row("No HEALTHCHECK", "none", "HEALTHCHECK, or probes where it is deployed"),
    "exposed-ssh": _Row("SSH is exposed", "medium",
        "leave out EXPOSE 22 and the daemon; kubectl or docker exec does it"),
    "add-from-url": _Row("ADD fetched from a URL", "medium", "ADD --checksum=sha256:…, or COPY what was verified"),
    "piped-to-shell": _Row("A download was piped into a shell", "high",
                           "fetch a release by digest or signature, then run it"),
    "latest-base": _Row("The base image is named by a tag that moves", "low", "FROM name@sha256:…"),
    "setuid": _Row("Files with the setuid or setgid bit", "low",
                   "chmod a-s, or run with allowPrivilegeEscalation: false"),
    "world-writable-file": _Row("Files that everybody may write", "medium", "chmod o-w"),
    "world-writable-folder": _Row("Folders that everybody may write, without the sticky bit", "medium",
        "chmod +t or o-w"),
    "package-cache": _Row("Caches of package managers", "none", "remove them in the RUN that makes them"),
}
"""By identifier; severities in the words of `vulns.severity`, `none` for what is only said."""


def of_config(document: Mapping[str, Any], base: str = "") -> list[Exposure]:
    """Of an image's configuration; `base` is the name of the base image, where the manifest states it."""
    config = document.get("config")
    config = config if isinstance(config, dict) else {}
    settings: list[Exposure] = []
    user = config.get("User")
    if not isinstance(user, str) or user.partition(":")[0] in _ROOT:
        settings.append(_setting("root-user", f"config.User is {user!r}" if user else "config.User is not set",
                                 "config: User"))
    healthcheck = config.get("Healthcheck")
    if not isinstance(healthcheck, dict) or healthcheck.get("Test") in (None, [], ["NONE"]):
        settings.append(_setting("no-healthcheck", "config.Healthcheck is not set", "config: Healthcheck"))
    ports = config.get("ExposedPorts")
    if isinstance(ports, dict) and {"22", "22/tcp"} & ports.keys():
        settings.append(_setting("exposed-ssh", "config.ExposedPorts has 22", "config: ExposedPorts"))
    for number, command in enumerate(history(document), 1):
        for identifier, pattern in (("add-from-url", _REMOTE_ADD), ("piped-to-shell", _PIPED)):
            if (match := pattern.search(command)) and not (identifier == "add-from-url" and "--checksum=" in command):
                settings.append(_setting(identifier, f"history {number}: {_short(match[0])}", "config: history",
                    number))
    if base and "@" not in base and (":" not in base.rpartition("/")[2] or base.endswith(":latest")):
        settings.append(_setting("latest-base", f"built on {_short(base)}", "manifest: annotations"))
    return settings


def history(document: Mapping[str, Any]) -> Iterator[str]:
    """What each step says that made it; empty for those that say nothing."""
    steps = document.get("history")
    for step in steps if isinstance(steps, list) else ():
        command = step.get("created_by") if isinstance(step, dict) else None
        yield command if isinstance(command, str) else ""


class Files:
    """Gathers settings of files, of which later layers may take away any."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, str]] = {name: {} for name in (
            "setuid", "world-writable-file", "world-writable-folder", "package-cache")}

    def take(self, path: str, kind: str, mode: int, layer: str) -> None:
        self.forget(path)
        identifier = _of_file(path, kind, mode)
        if identifier:
            self._held[identifier][path] = layer

    def forget(self, path: str) -> None:
        for places in self._held.values():
            places.pop(path, None)

    def forget_below(self, folder: str) -> None:
        for places in self._held.values():
            for path in [path for path in places if path.startswith(folder + "/" if folder else "")]:
                del places[path]

    def settings(self) -> list[Exposure]:
        return [_several(identifier, places) for identifier, places in self._held.items() if places]


def _of_file(path: str, kind: str, mode: int) -> str:
    if kind == "file":
        if mode & _SET_ID and mode & 0o111:
            return "setuid"
        if mode & _WORLD:
            return "world-writable-file"
        if any(path.startswith(folder) and path.endswith(ending) for folder, ending in _CACHES):
            return "package-cache"
    return "world-writable-folder" if kind == "directory" and mode & _WORLD and not mode & _STICKY else ""


def _several(identifier: str, places: Mapping[str, str]) -> Exposure:
    paths = sorted(places)
    more = f" and {len(paths) - _EXAMPLES} more" if len(paths) > _EXAMPLES else ""
    layers = set(places.values())
    row = RISKS[identifier]
    return Exposure(kind="setting", id=identifier, title=row.title, severity=row.severity, remedy=row.remedy,
                    message=", ".join(paths[:_EXAMPLES]) + more, path=paths[0], count=len(paths),
                    layer=layers.pop() if len(layers) == 1 else places[paths[0]])


def _setting(identifier: str, message: str, path: str, line: int = 0) -> Exposure:
    row = RISKS[identifier]
    return Exposure(kind="setting", id=identifier, title=row.title, severity=row.severity, remedy=row.remedy,
                    message=message, path=path, line=line)


def _short(text: str, most: int = 120) -> str:
    return text if len(text) <= most else text[:most - 1] + "…"


def texts(document: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    """The lines of a configuration in which secrets may stand, by where."""
    config = document.get("config")
    config = config if isinstance(config, dict) else {}
    environment, labels = config.get("Env"), config.get("Labels")
    yield "config: Env", [line for line in environment if isinstance(line, str)] if isinstance(environment,
        list) else []
    yield "config: labels", [f"{key}={value}" for key, value in labels.items()] if isinstance(labels, dict) else []
    yield "config: history", list(history(document))
    for key in ("Cmd", "Entrypoint"):
        words = config.get(key)
        yield f"config: {key}", [word for word in words if isinstance(word, str)] if isinstance(words, list) else []
