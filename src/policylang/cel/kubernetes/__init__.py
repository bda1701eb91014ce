"""CEL as the Kubernetes API server has it: libraries by minor version, costs, the variables of its places.

`from policylang.cel.kubernetes import env`; facts from k8s.io/apiserver pkg/cel/{environment,library}.
"""

from __future__ import annotations

from policylang.cel.kubernetes.environment import MINORS, admission, env, matching

__all__ = ["MINORS", "admission", "env", "matching"]
