"""Which container a process is in, by the paths of its control groups.

The forms are those of Docker (`/docker/ID`, `docker-ID.scope`), containerd (`cri-containerd-ID.scope`,
`/kubepods/…/ID`), CRI-O (`crio-ID.scope`) and Podman (`libpod-ID.scope`), with cgroupfs and systemd, cgroups v1 and
v2. What a process calls its own group it cannot choose without rights over the hierarchy; with them it can say
anything.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_LEAF = re.compile(r"(?:(docker|cri-containerd|crio|libpod|nerdctl|containerd)[-:])?([0-9a-f]{64})(?:\.scope)?\Z")
_POD = re.compile(r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})")
_TYPES = {"docker": "docker", "cri-containerd": "containerd", "containerd": "containerd", "nerdctl": "containerd",
          "crio": "cri-o", "libpod": "podman"}


class Container(NamedTuple):
    """`full` is the identifier of 64 digits; empty: the process is the host's."""

    full: str = ""
    type: str = "host"
    pod_uid: str = ""

    @property
    def id(self) -> str:
        """As Falco has it: 12 digits, or `host`."""
        return self.full[:12] or "host"


HOST = Container()


@lru_cache(1024)
def container(text: str) -> Container:
    """Of the lines of /proc/PID/cgroup, `hierarchy:controllers:path`; the innermost container of a path counts."""
    for line in text.splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3 and (inside := _in_path(parts[2])):
            return inside
    return HOST


def _in_path(path: str) -> Container | None:
    parts = path.split("/")
    for at in range(len(parts) - 1, -1, -1):
        match = _LEAF.match(parts[at])
        if match is None:
            continue
        pod = next((uid[1] for part in reversed(parts[:at]) if (uid := _POD.search(part))), "")
        kind = match[1] or ("docker" if at and parts[at - 1] == "docker" else "libpod" if "libpod" in path else "")
        # Kubernetes' cgroupfs driver says nothing of the runtime.
        return Container(match[2], _TYPES.get(kind, "cri" if pod else "unknown"), pod.replace("_", "-"))
    return None
