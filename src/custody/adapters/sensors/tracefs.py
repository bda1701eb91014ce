"""Tracepoints by name: their numbers and the places of their fields, in a tracefs that is mounted for nobody else."""

from __future__ import annotations

import os
import re

from custody.adapters.sensors import kernel
from custody.errors import MalformedError

_FIELD = re.compile(r"field:[^;]*?(\w+)(?:\[\d*\])?;\s*offset:(\d+);\s*size:(\d+);")
_MOUNTED = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_LIMIT = 64 * 1024


class Tracefs:
    def __init__(self) -> None:
        """Raises OSError where there is none, and none may be made."""
        try:
            self._root = kernel.detached("tracefs")
        except OSError:
            place = next((path for path in _MOUNTED if os.path.isdir(f"{path}/events")), None)
            if place is None:
                raise
            self._root = os.open(place, os.O_PATH | os.O_CLOEXEC)

    def _read(self, path: str) -> str:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._root)
        try:
            return os.read(descriptor, _LIMIT).decode("utf-8", "replace")
        finally:
            os.close(descriptor)

    def number(self, tracepoint: str) -> int:
        """Of `category/name`. Raises OSError where this kernel has none such."""
        text = self._read(f"events/{tracepoint}/id")
        if not text.strip().isdigit():
            raise MalformedError(f"tracefs: events/{tracepoint}/id", got=text, expected="a number")
        return int(text)

    def place(self, tracepoint: str, field: str) -> int:
        """Where `field` stands in the tracepoint's record, in bytes."""
        for match in _FIELD.finditer(self._read(f"events/{tracepoint}/format")):
            if match[1] == field:
                return int(match[2])
        raise MalformedError(f"tracefs: events/{tracepoint}/format", got="no such field", expected=field)

    def arguments(self, call: str) -> int:
        """How many arguments of system call `call` are told."""
        text = self._read(f"events/syscalls/sys_enter_{call}/format")
        return sum(int(match[2]) >= 16 for match in _FIELD.finditer(text))

    def close(self) -> None:
        if self._root >= 0:
            os.close(self._root)
            self._root = -1
