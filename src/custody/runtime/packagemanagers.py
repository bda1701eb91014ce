"""A detector: package managers in containers. What they change, no attestation of the image speaks of any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from custody.runtime.containers import Containers
from custody.runtime.event import Place, RuntimeEvent
from custody.runtime.executed import TYPES, executed, run_by
from custody.runtime.executing import TAGS, described, where
from custody.runtime.witness import Witness
from policylang.falco import Alert

_OPENS = frozenset(("open", "openat", "openat2", "creat"))
_MOVES = frozenset(("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"))
_INSTALL = frozenset(("install", "reinstall", "remove", "purge", "autoremove", "upgrade", "update", "full-upgrade",
                      "dist-upgrade", "downgrade", "erase", "localinstall", "groupinstall", "distro-sync", "swap"))
_CHANGING: dict[str, frozenset[str]] = {
    **dict.fromkeys(("apt", "apt-get", "aptitude", "yum", "dnf", "dnf5", "microdnf", "tdnf"), _INSTALL - {"update"}),
    "apk": frozenset(("add", "del", "upgrade", "fix")),
    "dpkg": frozenset(("-i", "--install", "--unpack", "--configure", "-r", "--remove", "-P", "--purge")),
    "rpm": frozenset(("-i", "--install", "-U", "--upgrade", "-F", "--freshen", "-e", "--erase", "--import")),
    "zypper": frozenset(("install", "in", "remove", "rm", "update", "up", "dup", "dist-upgrade", "patch")),
    "pacman": frozenset(("-S", "-U", "-R", "-Syu", "-Sy", "-Rs", "-Rns", "--sync", "--upgrade", "--remove")),
    "pip": frozenset(("install", "uninstall")), "uv": frozenset(("pip", "add", "sync", "remove", "tool")),
    "pipx": frozenset(("install", "uninstall", "inject", "upgrade")), "poetry": frozenset(("install", "add", "update")),
    "conda": frozenset(("install", "create", "update", "remove")), "gem": frozenset(("install", "uninstall", "update")),
    "bundle": frozenset(("install", "update", "add")), "cargo": frozenset(("install", "uninstall")),
    "npm": frozenset(("install", "i", "ci", "add", "uninstall", "update", "link", "exec")),
    "yarn": frozenset(("add", "install", "remove", "upgrade")), "pnpm": frozenset(("add", "install", "i", "update")),
    "composer": frozenset(("install", "require", "update", "remove")), "go": frozenset(("install", "get")),
    "snap": frozenset(("install", "remove", "refresh")), "flatpak": frozenset(("install", "update"))}
for _base, _like in (("yum", "dnf"), ("dnf-3", "dnf"), ("rpm", "rpm"), ("micromamba", "conda"), ("mamba", "conda"),
                     ("npx", "npm"), ("opkg", "apk")):
    _CHANGING.setdefault(_base, _CHANGING[_like])
_UPGRADES = {"yum": "update", "dnf": "update", "microdnf": "update", "tdnf": "update"}
"""Where `update` installs: of apt it reads indexes only."""
_DATABASES = ("/var/lib/dpkg/status", "/var/lib/dpkg/info/", "/lib/apk/db/installed", "/usr/lib/apk/db/installed",
              "/var/lib/rpm/", "/usr/lib/sysimage/rpm/", "/var/lib/pacman/local/")
_WITHIN = ("/site-packages/", "/dist-packages/", "/node_modules/", "/conda-meta/")
_METADATA = ("/METADATA", "/RECORD", "/INSTALLER", "/package.json")


class PackageManagerDetector:
    """`custody.runtime.detecting.Detector`: by what is executed, and by who writes to the databases of packages."""

    types = TYPES | _OPENS | _MOVES

    def __init__(self, containers: Containers, witness: Witness) -> None:
        self._containers, self._witness = containers, witness

    def __call__(self, event: RuntimeEvent) -> Iterator[Alert]:
        if event.type in _OPENS or event.type in _MOVES:
            yield from self._written(event)
            return
        get = event.fields.get
        for program in executed(event.fields):
            arguments = _arguments(get("proc.args"))
            name, given = manager(program.path, arguments)
            if name is None:
                continue
            place, _ = self._containers.place(event.fields)
            if not place.container_id and not place.digest:
                return
            changing = changes(name, given)
            reason = f"{name} {' '.join(given[:4])}".strip()
            yield self._alert(event, place, changing, reason[:300], program.path)
            return

    def _written(self, event: RuntimeEvent) -> Iterator[Alert]:
        get = event.fields.get
        if event.type in _MOVES:  # a file that was written elsewhere may be put in the place of a database
            raw = get("evt.rawres")
            if isinstance(raw, int) and raw < 0:
                return
            path = get("evt.arg.linkpath" if event.type.startswith("symlink") else "evt.arg.newpath")
        elif get("evt.is_open_write") is True:
            path = get("fd.name")
        else:
            return
        if not isinstance(path, str) or not (path.startswith(_DATABASES) or (
                any(part in path for part in _WITHIN) and path.endswith(_METADATA))):
            return
        place, container = self._containers.place(event.fields)
        if not place.container_id and not place.digest:
            return
        if container is not None and any(path.startswith(volume.rstrip("/") + "/") for volume in container.volumes):
            return
        yield self._alert(event, place, True, f"{get('proc.name') or 'a process'} writes {path}", path)

    def _alert(self, event: RuntimeEvent, place: Place, changing: bool, reason: str, path: str) -> Alert:
        if changing and place.digest:
            self._witness.mark(place.digest, place.container_id or place.pod_uid, reason, event.at)
        rule = "Packages changed in a container" if changing else "Package manager run in a container"
        said = ("; the container is no longer equal to the attestation of its image" if changing else
                "; it was not asked to change anything, as far as its arguments say")
        fields: dict[str, Any] = {**where(place), "proc.exepath": path, "custody.drift": "packages",
                                  "custody.drift.reason": reason, "custody.drift.unlike": changing}
        return Alert(rule=rule, priority="Error" if changing else "Notice", source="custody", output_fields=fields,
                     tags=TAGS, output=f"{rule}: {reason} in {described(place)}{said}", time=event.at,
                     hostname=place.node)


def manager(path: str, arguments: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """The package manager that is run, by its own name or by its interpreter, and its arguments; None for no such."""
    base = _name(path)
    if base in _CHANGING:
        return base, arguments
    if base in ("python", "pypy") and "-m" in arguments[:6]:
        at = arguments.index("-m") + 1
        module = arguments[at] if at < len(arguments) else ""
        return (module, arguments[at + 1:]) if module in _CHANGING else (None, ())
    script = run_by(path, arguments)
    if script is not None and (named := _name(script)) in _CHANGING:
        return named, arguments[arguments.index(script) + 1:] if script in arguments else ()
    if script is not None and (kind := next((kind for kind in ("npm", "yarn", "pnpm") if f"/{kind}" in script
                                             and f"{kind}-cli" in script), None)):
        return kind, arguments[arguments.index(script) + 1:] if script in arguments else ()
    return None, ()


def changes(name: str, arguments: Sequence[str]) -> bool:
    """Whether these arguments ask it to change what is installed."""
    asked = _CHANGING[name] | ({_UPGRADES[name]} if name in _UPGRADES else set())
    if name in ("rpm", "pacman", "dpkg"):
        letters = {option[1] for option in asked if len(option) == 2}
        return any(argument in asked or (len(argument) > 2 and argument[0] == "-" and argument[1] in letters
                                         and argument[1] != "-") for argument in arguments)
    return any(argument in asked for argument in arguments[:8])


def _name(path: str) -> str:
    base = path.removesuffix(" (deleted)").rpartition("/")[2]
    if base in _CHANGING:
        return base
    return base.removesuffix(".js").removesuffix("-cli").rstrip("0123456789.").rstrip("-")


def _arguments(value: Any) -> list[str]:
    if isinstance(value, (list, tuple)):
        return [argument for argument in value[:256] if isinstance(argument, str)]
    return value.split(" ", 256) if isinstance(value, str) and value not in ("", "<NA>") else []
