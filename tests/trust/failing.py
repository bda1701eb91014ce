"""A disk that fails: every operation of the log's adapter may be told to raise, or to write half of its bytes."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from custody.adapters.filesystem import tiles
from custody.kit import folder as folders


class Disk:
    """Counts the operations below a folder and fails those that `fails` names by their number."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._lock = threading.Lock()
        self.count = 0
        self.fails: Callable[[int, str], int | None] = lambda _number, _name: None
        """Number and name of an operation → the errno that it fails with."""
        self.rng = random.Random(0)
        self.failed: list[str] = []

    def _step(self, name: str) -> OSError | None:
        with self._lock:
            number, self.count = self.count, self.count + 1
            code = self.fails(number, name)
            if code is not None:
                self.failed.append(f"{name} {number}")
        return OSError(code, os.strerror(code)) if code is not None else None

    def _wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any, **named: Any) -> Any:
            error = self._step(name)
            if name == "write" and error is None and self.rng.random() < 0.2:  # a short write, which is no error
                return function(given[0], bytes(given[1])[:max(1, len(given[1]) // 2)])
            if error is None:
                return None if name == "fsync" else function(*given, **named)  # no power is cut here
            if name == "write":  # half of the bytes, then no room
                function(given[0], bytes(given[1])[:len(given[1]) // 2])
            elif name == "write_bytes":
                function(given[0], given[1][:len(given[1]) // 2])
            elif name == "close" or (name == "rename" and self.rng.random() < 0.5):
                function(*given, **named)  # it happened, and nobody was told
            raise error

        return wrapped

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        module = mock.Mock(wraps=os)
        for name in ("open", "write", "fsync", "rename", "close"):
            setattr(module, name, self._wrap(name, getattr(os, name)))
        for name in dir(os):
            if name.startswith("O_"):
                setattr(module, name, getattr(os, name))
        with contextlib.ExitStack() as stack:
            for user in (tiles, folders):
                stack.enter_context(mock.patch.object(user, "os", module))
            for name in ("mkdir", "read_bytes", "write_bytes", "rename"):
                stack.enter_context(mock.patch.object(Path, name, self._below(name, getattr(Path, name))))
            yield

    def _below(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        wrapped = self._wrap(name, method)

        def called(path: Path, *given: Any, **named: Any) -> Any:
            return (wrapped if str(path).startswith(self._folder) else method)(path, *given, **named)

        return called


def errors(rng: random.Random) -> int:
    return rng.choice((errno.ENOSPC, errno.EIO, errno.EDQUOT))
