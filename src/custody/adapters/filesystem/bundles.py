"""What container runtimes keep on this machine's disk about each container: read where the cluster is not asked.

containerd's CRI plug-in and CRI-O leave the OCI configuration of each container in a folder of its name, Docker a file
of its own beside its list of images. All belong to root.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from custody.errors import CustodyError, StorageError
from custody.formats.containers import Running, of_bundle, of_docker
from custody.kit import strictjson
from custody.kit.saidonce import SaidOnce

_LOG = logging.getLogger(__name__)
_LARGEST = 4 << 20
BUNDLES = (
    "run/containerd/io.containerd.runtime.v2.task/k8s.io/{}/config.json",
    "run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/{}/config.json",
    "run/containers/storage/overlay-containers/{}/userdata/config.json",
    "var/lib/containers/storage/overlay-containers/{}/userdata/config.json")
DOCKER = "var/lib/docker/containers/{}/config.v2.json"
_REPOSITORIES = "var/lib/docker/image/overlay2/repositories.json"


class Bundles:
    """By the identifier of 64 digits, which is in the name of a file."""

    def __init__(self, root: Path = Path("/"), bundles: Sequence[str] = BUNDLES) -> None:
        """`root` is the host's root directory: another one where it is mounted into a container."""
        self._root, self._bundles = root, bundles
        self._failures = SaidOnce()

    def folders(self) -> list[Path]:
        """Those of runtimes that are here and may be looked into."""
        places = (self._root / place.partition("{}")[0] for place in (*self._bundles, DOCKER))
        return [place for place in places if _listed(place)]

    def find(self, identifier: str) -> Running | None:
        """None where no runtime has such a container, or what it says of it cannot be read: that is logged once."""
        try:
            for place in self._bundles:
                if (document := self._read(place.format(identifier))) is not None:
                    return of_bundle(document, identifier)
            if (document := self._read(DOCKER.format(identifier))) is not None:
                running = of_docker(document, self._read(_REPOSITORIES))
                return running if running.identifier == identifier else None
        except CustodyError as error:
            if self._failures.first(error.message):
                _LOG.warning("container %s: %s", identifier[:12], error.message)
        return None

    def _read(self, place: str) -> Any:
        """None where there is no such file. Raises StorageError, MalformedError."""
        path = self._root / place
        try:
            with path.open("rb") as file:
                data = file.read(_LARGEST + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror}") from None
        return strictjson.loads(data, str(path), max_size=_LARGEST)


def _listed(folder: Path) -> bool:
    try:
        next(folder.iterdir(), None)
    except OSError:
        return False
    return True
