"""What an event executed: the program, and what the program was asked to run in its place.

An interpreter hides the script, a dynamic linker the program that it loads: execve(2) tells of `/bin/sh` and of
`/lib64/ld-linux-x86-64.so.2`, whatever they run. Their arguments say which file is meant.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from custody.formats.telemetry.event import Fields
from custody.runtime.executables import UNPLACED

TYPES = frozenset(("execve", "execveat"))
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_MOST = 4096
_VERSION = re.compile(r"[0-9.]+\Z")
_ROOT = re.compile(
    r"/(?:var/)?run/(?:k3s/)?(?:containerd|crio|docker|runc|containers)/(?:[^/]+/){1,8}?rootfs/"
    r"|/var/lib/(?:docker|containers/storage|containerd|rancher/k3s/agent/containerd)/(?:[^/]+/){1,4}?merged/")
_LINKER = re.compile(r"ld(?:-[a-z0-9_.-]+)?\.so(?:\.[0-9]+)?\Z|ld-[0-9.]+\.so\Z")


class Executed(NamedTuple):
    path: str
    """From the root of the container on; empty where nobody said."""
    sha256: str | None
    """Hexadecimal, of the very bytes; None where nobody read them."""
    by: str = ""
    """The interpreter or linker that was asked to run it; empty for what the kernel executed."""
    upper: bool = False
    """The container has written it: it lies in the upper layer of its overlay file system."""


class _Interpreter(NamedTuple):
    """How a program's arguments name what it runs."""

    inline: frozenset[str] = frozenset()
    """Options whose argument is the program's text, or a module: no file is named."""
    taking: frozenset[str] = frozenset()
    """Options that take the next argument."""
    file: frozenset[str] = frozenset()
    """Options whose argument is the file."""
    letters: str = ""
    """Of `inline`, those that may stand in a group: `-ec`."""
    commands: bool = False
    """Without such an option the first argument is a command and no file."""


_SHELL = _Interpreter(inline=frozenset(("-c",)), taking=frozenset(("-o", "+o", "-O", "+O", "--rcfile", "--init-file")),
                      letters="c")
_NODE = _Interpreter(inline=frozenset(("-e", "--eval", "-p", "--print", "-pe")),
                     taking=frozenset(("-r", "--require", "--import", "--loader", "--experimental-loader", "-C",
                                       "--conditions", "--env-file", "--input-type")))
_INTERPRETERS = {
    **dict.fromkeys(("sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "rbash"), _SHELL),
    **dict.fromkeys(("python", "pypy"), _Interpreter(
        inline=frozenset(("-c", "-m")), taking=frozenset(("-W", "-X", "-Q", "--check-hash-based-pycs")), letters="cm")),
    "perl": _Interpreter(inline=frozenset(("-e", "-E")), taking=frozenset(("-I", "-x")), letters="eE"),
    "ruby": _Interpreter(inline=frozenset(("-e",)), taking=frozenset(("-I", "-r", "-C", "-E", "--encoding")),
                         letters="e"),
    "node": _NODE, "nodejs": _NODE,
    "php": _Interpreter(inline=frozenset(("-r", "-B", "-R", "-E", "-S", "-i", "-m", "-v")),
                        taking=frozenset(("-c", "-d", "-z", "-t")), file=frozenset(("-f", "-F"))),
    "java": _Interpreter(taking=frozenset(("-cp", "-classpath", "--class-path", "-p", "--module-path", "--add-opens",
                                           "--add-modules", "--add-exports", "--add-reads")),
                         inline=frozenset(("-m", "--module", "-version", "--version")), file=frozenset(("-jar",)),
                         commands=True),
    "lua": _Interpreter(inline=frozenset(("-e",)), taking=frozenset(("-l",))),
    "tclsh": _Interpreter(), "wish": _Interpreter(),
    "awk": _Interpreter(file=frozenset(("-f", "--file")), commands=True),
    **dict.fromkeys(("gawk", "mawk"), _Interpreter(file=frozenset(("-f", "--file")), taking=frozenset(("-F", "-v")),
                                                   commands=True))}
_LINKER_TAKING = frozenset(("--library-path", "--preload", "--audit", "--argv0", "--inhibit-rpath",
                            "--glibc-hwcaps-prepend", "--glibc-hwcaps-mask"))


def executed(fields: Fields) -> Iterator[Executed]:
    """Of an event of `TYPES`; nothing of one that failed. Several where a program runs another file."""
    get = fields.get
    if _failed(get("evt.rawres"), get("evt.res")):
        return
    path, sha256 = _text(get("proc.exepath")), _digest(get("custody.exe.sha256"))
    if sha256 is not None:  # without it a name is all that is known, and who is in the container chooses names
        path = inside(path)
    if path and not path.startswith(("/", "memfd:")):
        folder = _text(get("proc.cwd"))
        # A relative name is not one from the root on, whatever the image has there.
        path = posixpath.join(folder, path) if folder.startswith("/") else f"{UNPLACED}{path}"
    program = Executed(path, sha256, upper=get("proc.is_exe_upper_layer") is True)
    if get("proc.is_exe_from_memfd") is True and not path.startswith(("/memfd:", "memfd:")):
        program = program._replace(path=f"memfd:{path.rpartition('/')[2]}")
    yield program
    arguments = _arguments(get("proc.args"))
    if (script := run_by(path, arguments)) is not None:
        folder = _text(get("proc.cwd"))
        if not script.startswith("/"):
            if not folder.startswith("/"):
                yield Executed(f"{UNPLACED}{script}", None, by=path.rpartition("/")[2])
                return
            script = posixpath.join(folder, script)
        yield Executed(posixpath.normpath(script), _digest(get("custody.script.sha256")),
                       by=path.rpartition("/")[2])


def inside(path: str) -> str:
    """A path of a node as the container has it: runtimes mount the roots of containers below their own folders."""
    match = _ROOT.match(path)
    return f"/{path[match.end():]}" if match is not None else path


def run_by(program: str, arguments: Sequence[str]) -> str | None:
    """The file that a program of this path is asked to run by its arguments (without its own name), as they name it.

    None where it is no interpreter or linker that is known, or runs no file.
    """
    base = program.removesuffix(" (deleted)").rpartition("/")[2]
    if _LINKER.fullmatch(base):
        return _first(arguments, _Interpreter(taking=_LINKER_TAKING, inline=frozenset(("--list-tunables",))))
    if base in ("busybox", "toybox"):
        return run_by(f"/{arguments[0]}", arguments[1:]) if arguments else None
    if base == "env":
        return None  # it executes what it is asked to, and that is an event of its own
    interpreter = _INTERPRETERS.get(base) or _INTERPRETERS.get(base.rstrip("0123456789.").rstrip("-"))
    if interpreter is None:
        return None
    return _first(arguments, interpreter)


def interprets(path: str) -> bool:
    """Whether a program of this name runs texts, also such as it reads without being asked to by its arguments."""
    base = path.rpartition("/")[2]
    return base in ("busybox", "toybox") or base in _INTERPRETERS or (
        base.rstrip("0123456789.").rstrip("-") in _INTERPRETERS)


def _first(arguments: Sequence[str], interpreter: _Interpreter) -> str | None:
    at = 0
    while at < len(arguments):
        argument = arguments[at]
        at += 1
        if argument in interpreter.file:
            return arguments[at] if at < len(arguments) else None
        if argument in interpreter.inline:
            return None
        if argument in interpreter.taking:
            at += 1
            continue
        if argument == "--":
            return arguments[at] if at < len(arguments) and not interpreter.commands else None
        if argument == "-":
            return None
        if argument[:1] in ("-", "+") and len(argument) > 1:
            if argument[0] == "-" and argument[1] != "-" and any(
                    letter in interpreter.letters for letter in argument[1:]):
                return None
            continue
        return None if interpreter.commands or not argument else argument
    return None


def _arguments(value: Any) -> list[str]:
    """Falco has them as one text, in which a space in an argument is as one between two."""
    if isinstance(value, (list, tuple)):
        return [argument for argument in value[:_MOST] if isinstance(argument, str)]
    return _text(value).split(" ", _MOST) if value and isinstance(value, str) else []


def _failed(raw: Any, said: Any) -> bool:
    if isinstance(raw, int):
        return raw < 0
    return isinstance(said, str) and said not in ("", "SUCCESS", "<NA>") and not _VERSION.match(said)


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value != "<NA>" else ""


def _digest(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    value = value.removeprefix("sha256:").lower()
    return value if _SHA256.match(value) else None
