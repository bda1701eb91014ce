"""What a step left to be packed: looked at when nothing of the step runs any more, and refused by name and path.

A layer is unpacked by other programs, so what would mean something else to them, or cannot be written in the same way
by everybody, does not go in: whiteouts (OCI image specification, layer.md), devices, set-user-ID files, names that are
not text. Owners, times, modes and extended attributes are not kept. Names that differ by case alone are kept apart, as
Linux does.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from custody.build.limits import Limits, show_size
from custody.build.workfolder import walk
from custody.errors import MalformedError
from custody.kit.visible import visible

_MAX_PATH = 2048
"""Bytes of a path in the image; Linux takes 4,096 together with the folder that it is unpacked in."""
_WHITEOUT = ".wh."
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a character device",
          stat.S_IFBLK: "a block device"}


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    """Path below the layer's folder."""
    path: Path
    mode: int
    """As lstat says it; of the permissions, only whether anybody may execute is kept."""


@dataclass(frozen=True, slots=True)
class Layer:
    name: str
    entries: tuple[Entry, ...]
    """In the order of their names."""


def read_output(folder: Path, limits: Limits) -> list[Layer]:
    """The layers in $CUSTODY_OUTPUT, in the order of their names. Raises MalformedError, naming the path."""
    if not folder.is_dir() or folder.is_symlink():  # as a step that is not isolated can make it
        raise MalformedError("build output", got="no folder, or a link", expected="the folder that the step was given")
    layers: dict[str, list[Entry]] = {}
    strays: list[str] = []
    files = size = 0
    for path, status in walk(folder):
        files, size = files + 1, size + status.st_size
        _check(path, status, limits)
        if files > limits.files:
            raise MalformedError("build output", got=f"more than {limits.files} files and folders",
                                 expected="no more than build.files", hint="raise build.files in custody-build.toml")
        if size > limits.output_size:
            raise MalformedError(f"build output: {visible(path)}",
                                 got=f"the file after which there are more than {show_size(limits.output_size)}",
                                 expected="no more than build.output_size",
                                 hint="raise build.output_size in custody-build.toml; a sparse file counts whole")
        first, _, name = path.partition("/")
        if name:
            layers[first].append(Entry(name, folder / path, status.st_mode))
        elif stat.S_ISDIR(status.st_mode):
            layers[first] = []
        else:
            strays.append(first)
    if strays or not layers:
        names = sorted([*layers, *strays])
        raise MalformedError("build output", got=[visible(name) for name in names[:20]],
                             expected="one folder a layer in $CUSTODY_OUTPUT, and nothing else")
    return [Layer(name, tuple(sorted(layers[name], key=lambda entry: entry.name))) for name in sorted(layers)]


def _check(path: str, status: os.stat_result, limits: Limits) -> None:
    where = f"build output: {visible(path[-200:])}"
    name = path.rpartition("/")[2]
    kind = stat.S_IFMT(status.st_mode)
    if kind in _KINDS:
        raise MalformedError(where, got=_KINDS[kind], expected="files, folders and symbolic links")
    if not name.isprintable():  # the surrogates of PEP 383 are not, either
        raise MalformedError(where, got="a name of other bytes", expected="UTF-8 without control characters")
    if name.startswith(_WHITEOUT):
        raise MalformedError(where, got="a name that removes a file from the layers below",
                             expected=f"names that do not begin with {_WHITEOUT}")
    if kind != stat.S_IFLNK and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
        raise MalformedError(where, got="a set-user-ID or set-group-ID file", expected="none")
    if path.count("/") > limits.depth:
        raise MalformedError(where, got=f"folders more than {limits.depth} deep", expected="no more than build.depth",
                             hint="raise build.depth in custody-build.toml")
    if len(os.fsencode(path)) > _MAX_PATH:
        raise MalformedError(where, got=f"a path of {len(os.fsencode(path))} bytes",
                             expected=f"at most {_MAX_PATH}")

