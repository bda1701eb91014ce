"""Regenerates src/custody/policy/kubernetes.json from an API server's aggregated discovery.

    scripts/kinds.py API.json APIS.json     its answers to /api and /apis, asked with
        Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec

from custody.policy.resources import of_discovery

OUT = Path(__file__).parent.parent / "src" / "custody" / "policy" / "kubernetes.json"


def table(documents: list[object]) -> bytes:
    """One resource a line, in the order of group, plural and version."""
    resources = sorted(of_discovery(documents, "discovery"),
                       key=lambda resource: (resource.group, resource.plural, resource.version))
    return b"[\n" + b",\n".join(msgspec.json.encode(resource) for resource in resources) + b"\n]\n"


if __name__ == "__main__":
    OUT.write_bytes(table([json.loads(Path(name).read_bytes()) for name in sys.argv[1:]]))
