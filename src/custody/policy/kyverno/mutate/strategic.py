"""`patchStrategicMerge`: anchors, then a strategic merge."""

from __future__ import annotations

from typing import Any

from custody.policy.kyverno.mutate.anchors import prepared
from custody.policy.kyverno.mutate.merging import merge
from custody.policy.kyverno.mutate.nodes import PatchError, copied


def patched(patch: Any, resource: dict[str, Any]) -> dict[str, Any]:
    """A resource with a patch; neither is changed. Raises PatchError."""
    result = merge(prepared(copied(patch), resource), resource)
    if not isinstance(result, dict):
        raise PatchError("filter cannot create or delete objects")
    return result
