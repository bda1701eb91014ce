"""Writes what the image is locked to: base.lock, what of Debian it has, each file by its SHA-256, as this machine's
packages have it; and wheels.lock, the packages of requirements/run.txt that a Linux has.

usage: .venv/bin/python deploy/image/lock.py     on Debian 12, after `apt-get upgrade` or after a dependency is another

    package NAME VERSION ARCHITECTURE SOURCE
    SHA256  PATH                a file
    -> TARGET  PATH             a symbolic link
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

from packaging.markers import Marker

HERE = Path(__file__).parent
_LINUX = {"implementation_name": "cpython", "platform_python_implementation": "CPython", "os_name": "posix",
          "python_full_version": "3.11.2", "python_version": "3.11", "sys_platform": "linux",
          "platform_system": "Linux", "platform_machine": "x86_64"}
PACKAGES = {
    "base-files": r"usr/lib/os-release",
    "gcc-12-base": r"", "ca-certificates": r"usr/share/ca-certificates/mozilla/.*\.crt",
    "libbz2-1.0": r".*/libbz2\.so\..*",
    "libc6": r".*/(?:lib(?:c|m|dl|pthread|rt|resolv)\.so\.\d|ld-linux-x86-64\.so\.2)",
    "libexpat1": r".*/libexpat\.so\..*", "libffi8": r".*/libffi\.so\..*", "libgcc-s1": r".*/libgcc_s\.so\..*",
    "liblzma5": r".*/liblzma\.so\..*", "libsqlite3-0": r".*/libsqlite3\.so\..*",
    "libssl3": r".*/lib(?:ssl|crypto)\.so\.3",
    "libstdc++6": r".*/libstdc\+\+\.so\.[\d.]*", "libuuid1": r".*/libuuid\.so\..*", "zlib1g": r".*/libz\.so\..*",
    "libpython3.11-minimal": r"usr/lib/python3\.11/.*", "libpython3.11-stdlib": r"usr/lib/python3\.11/.*",
    "python3.11-minimal": r"usr/bin/python3\.11"}
"""Which files of each, by their paths, beside its licence. No shell, no package manager, no program but Python."""
_LEFT_OUT = re.compile(
    r"usr/lib/python3\.11/(?:(?:idlelib|tkinter|ensurepip|lib2to3|pydoc_data|turtledemo|test|venv|config-3\.11[^/]*|"
    r"distutils/command/wininst[^/]*|ctypes/test|unittest/test)/.*|.*\.(?:exe|txt|gz)|EXTERNALLY-MANAGED|sitecustomize\.py|"
    r"lib-dynload/(?:_crypt|_curses|_curses_panel|_dbm|_gdbm|_tkinter|nis|ossaudiodev|readline|_test[a-z]*|_xxtestfuzz|"
    r"xxlimited\w*)\.cpython.*)")
"""What needs other libraries, a terminal or a window, and what installs programs."""


def _asked(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _line(path: str) -> str:
    file = Path("/", path)
    if file.is_symlink():
        return f"-> {os.readlink(file)}  {path}"
    return f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {path}"


def wheels() -> str:
    """A lock says the same on every machine, so that it has no markers: what they select here is said instead."""
    entries = re.split(r"(?m)^(?=\S)", (HERE.parents[1] / "requirements" / "run.txt").read_text())
    kept = ["# Of requirements/run.txt, written by deploy/image/lock.py.\n"]
    for entry in filter(None, entries):
        marker = re.match(r"\S+ ; (?P<marker>[^\\\n]*)", entry)
        if marker is None:
            kept.append(entry)
        elif Marker(marker["marker"]).evaluate(_LINUX):
            kept.append(entry.replace(f" ; {marker['marker']}", " ", 1))
    return "".join(kept)


def main() -> None:
    (HERE / "wheels.lock").write_text(wheels())
    lines = [line for line in (__doc__ or "").splitlines() if line.startswith("    ")]
    lines = ["# Written by deploy/image/lock.py:", *(f"#{line[3:]}" for line in lines)]
    for name, pattern in sorted(PACKAGES.items()):
        form = "${Package} ${Version} ${Architecture} ${source:Package}"
        lines.append(f"package {_asked('dpkg-query', '-W', f'-f={form}', name)}")
        owned = {os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)).lstrip("/")
                 for path in _asked("dpkg-query", "-L", name).splitlines()}
        pattern = f"{pattern}|usr/share/doc/[^/]*/copyright"
        chosen = [path for path in sorted(owned) if re.fullmatch(pattern, path) and not _LEFT_OUT.fullmatch(path)
                  and (Path("/", path).is_symlink() or Path("/", path).is_file())]
        if not chosen:
            raise SystemExit(f"{name}: none of its files is {pattern}")
        lines += [_line(path) for path in chosen]
    (HERE / "base.lock").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
