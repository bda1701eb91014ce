"""The roots of containers: where a program may be started in one. New ones are seen as they come, in two ways.

A runtime mounts an overlay for each container in the host's mount namespace, some time before the container's first
program: the kernel says when a mount is made (poll on /proc/PID/mountinfo, proc_pid_mountinfo(5)). What is mounted
elsewhere is found by the processes: /proc/PID/root of one whose control group is a container's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import select
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from custody.adapters.sensors import procfs
from custody.adapters.sensors.containers import container
from custody.errors import UnsupportedError

_LOG = logging.getLogger(__name__)
_LOOK = 1.0
"""Seconds between two looks at the processes of containers."""
_OVERLAY = "overlay"
_CONTAINERS = re.compile(r"(?:\A|/)[0-9a-f]{64}/(?:rootfs|merged)\Z")
_LARGEST = 16 << 20
MOST = 4096
"""Containers that are watched at once."""
_LOOKED = 1 << 17
"""Processes whose control group was read."""
_BLOCK = 65536
HOST = 1
"""The process whose mount namespace is the host's."""


class Root(NamedTuple):
    path: str
    """By which this process reaches it."""
    name: str
    """For people: the mount, or the container."""
    container: str
    """Identifier of 64 digits; empty where a mount does not say it."""
    overlay: bool
    """Its filesystem belongs to this container alone, and may be watched as a whole."""


class Roots:
    """`host` is a process of the mount namespace in which runtimes mount."""

    def __init__(self, host: int = HOST) -> None:
        self._host = host
        # Where nobody may look through that process, this one's own mounts are all that can be reached.
        self._base = f"/proc/{host}/root" if os.path.isdir(f"/proc/{host}/root/") else ""
        self._mounts: set[tuple[str, str]] = set()
        self._containers: OrderedDict[str, None] = OrderedDict()
        self._looked: OrderedDict[int, int] = OrderedDict()
        self._file = -1
        self._epoll: select.epoll | None = None
        self.left_out = 0
        """Looks at a mount that is one too many."""

    def open(self) -> int:
        """A descriptor that can be read when mounts change. Raises OSError."""
        self._file = os.open(f"/proc/{self._host}/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._epoll = select.epoll()
        self._epoll.register(self._file, select.EPOLLPRI)
        return self._epoll.fileno()

    def close(self) -> None:
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def mounted(self) -> Iterator[Root]:
        """Overlays of containers that were mounted since it was asked last."""
        if self._epoll is not None:
            self._epoll.poll(0)  # else it stays ready
        now: set[tuple[str, str]] = set()
        for line in self._lines():
            fields = line.split(" ")
            if len(fields) < 9 or "-" not in fields[6:] or fields[fields.index("-", 6) + 1] != _OVERLAY:
                continue
            path = _unescaped(fields[4])
            if not _CONTAINERS.search(path):
                continue
            if len(now) >= MOST:
                self.left_out += (fields[0], path) not in self._mounts
                continue
            now.add((fields[0], path))
            if (fields[0], path) not in self._mounts:
                yield Root(f"{self._base}{path}", path, "", overlay=True)
        self._mounts = now

    def running(self) -> Iterator[Root]:
        """Roots of containers of which a process is there, once for each container."""
        for pid in procfs.processes():
            stat = procfs.stat(pid)
            if stat is None or self._looked.get(pid) == stat.started:
                continue
            groups = procfs.read(f"/proc/{pid}/cgroup")
            where = container(procfs.text(groups)) if groups else None
            if where is None or (where.full and not self._moved(pid)):
                continue  # it is still the runtime's, before it has a root of its own: looked at again
            self._looked[pid] = stat.started
            if len(self._looked) > _LOOKED:
                self._looked.popitem(last=False)
            if where.full and where.full not in self._containers:
                yield Root(f"/proc/{pid}/root", f"container {where.id}", where.full,
                           overlay=_type(pid) == _OVERLAY)

    async def find(self, watch: Callable[[Root], None], lost: Callable[[str], None]) -> None:
        """Each to `watch`, which raises UnsupportedError, as it comes, until cancelled; `lost` counts those."""
        loop = asyncio.get_running_loop()

        def new() -> None:
            for root in self.mounted():
                self._one(root, watch, lost)

        try:
            loop.add_reader(changed := self.open(), new)
        except OSError as error:
            _LOG.warning("fanotify: which mounts are made is not told: %s; containers are found by their processes",
                         error.strerror)
            changed = -1
        try:
            while True:
                if changed >= 0:
                    new()
                for root in self.running():
                    self._one(root, watch, lost)
                await asyncio.sleep(_LOOK)
        finally:
            if changed >= 0:
                loop.remove_reader(changed)
            self.close()

    def _one(self, root: Root, watch: Callable[[Root], None], lost: Callable[[str], None]) -> None:
        try:
            watch(root)
        except UnsupportedError as error:
            if not os.path.isdir(f"{root.path}/"):
                return  # it has ended
            lost("unwatched-root")
            _LOG.warning("%s is not watched: %s", root.name, error.message)
        else:
            _LOG.info("fanotify watches %s", root.name)
        self._told(root)

    def _told(self, root: Root) -> None:
        """A container is not told again."""
        if root.container:
            self._containers[root.container] = None
            if len(self._containers) > 4 * MOST:
                self._containers.popitem(last=False)

    def _moved(self, pid: int) -> bool:
        """Is its root another than the host's?"""
        try:
            own, host = os.stat(f"/proc/{pid}/root/"), os.stat(f"{self._base}/")
        except OSError:
            return False
        return (own.st_dev, own.st_ino) != (host.st_dev, host.st_ino)

    def _lines(self) -> list[str]:
        os.lseek(self._file, 0, os.SEEK_SET)
        return _lines(self._file)


def _lines(file: int) -> list[str]:
    """The kernel gives a page at a time."""
    data, size = [], 0
    while size < _LARGEST and (block := os.read(file, _BLOCK)):
        data.append(block)
        size += len(block)
    return procfs.text(b"".join(data)).splitlines()


def _unescaped(text: str) -> str:
    """Blanks are octal there."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _type(pid: int) -> str:
    """Of the filesystem that a process's root is on, by its own list of mounts; empty where that is not known."""
    try:
        device = os.stat(f"/proc/{pid}/root/").st_dev
        file = os.open(f"/proc/{pid}/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        lines = _lines(file)
    except OSError:
        return ""
    finally:
        os.close(file)
    number = f"{os.major(device)}:{os.minor(device)}"
    for fields in (line.split(" ") for line in lines):
        if len(fields) > 8 and fields[2] == number and "-" in fields[6:]:
            return fields[fields.index("-", 6) + 1]
    return ""
