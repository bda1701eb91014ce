"""CEL as Kyverno's policies have it: its libraries, and the variables of each kind of policy.

`from policylang.cel.kyverno import env`; facts from kyverno pkg/cel and kyverno/sdk extensions/cel.
"""

from __future__ import annotations

from policylang.cel.kyverno.environment import KINDS, env
from policylang.cel.libraries.kyverno.ports import World

__all__ = ["KINDS", "World", "env"]
