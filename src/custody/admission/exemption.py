"""Namespaces that Gatekeeper's policies may leave alone, as Gatekeeper's --exempt-namespace flags name them.

A namespace is exempt where both are so: the flags name it, and it carries the label `admission.gatekeeper.sh/ignore`,
whatever its value (Gatekeeper pkg/webhook/namespacelabel.go; deploy/gatekeeper.yaml). The API server then asks nobody
about what lies in it, by Gatekeeper's policies; those of other engines do not know the label. A label without the flag
exempts nothing: who may label a namespace does not decide what is judged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

from custody.errors import MalformedError
from custody.policy.model import Request
from custody.policy.rule import Policy

LABEL = "admission.gatekeeper.sh/ignore"
PATH = "v1/admitlabel"
"""Of the webhook that refuses the label, as Gatekeeper's."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9][-a-z0-9]{0,62}")
_SUFFIX = re.compile(r"[-a-z0-9]{0,62}[a-z0-9]")
_LIES_IN = ('has(request.namespace) ? request.namespace : request.resource.group == "" && '
            'request.resource.resource == "namespaces" && object != null && has(object.metadata.name) ? '
            'object.metadata.name : ""')
"""The namespace that a request is about, in CEL; empty for none."""


class Exemption(NamedTuple):
    """Empty: no namespace is exempt, and the label does nothing."""

    names: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Iterable[str], prefixes: Iterable[str], suffixes: Iterable[str],
           beside: Sequence[str] = ()) -> Self:
        """What the flags say, and the setting `exempt_namespaces`, in which a star begins or ends what a prefix and a
        suffix are. Raises MalformedError, by the flag's name."""
        flags = [("--exempt-namespace", name) for name in names]
        flags += [("--exempt-namespace-prefix", f"{prefix}*") for prefix in prefixes]
        flags += [("--exempt-namespace-suffix", f"*{suffix}") for suffix in suffixes]
        flags += [("exempt_namespaces", glob) for glob in beside]
        for flag, glob in flags:
            plain = flag == "--exempt-namespace" or "*" not in glob
            pattern, text = (_NAME, glob) if plain else (_SUFFIX, glob[1:]) if glob[0] == "*" else (_PREFIX, glob[:-1])
            if not pattern.fullmatch(text):
                raise MalformedError(flag, got=glob.strip("*") if flag.startswith("--exempt-namespace-") else glob,
                                     expected=_EXPECTED[flag])
        globs = dict.fromkeys(glob for _, glob in flags)
        return cls(tuple(glob for glob in globs if "*" not in glob),
                   tuple(glob[:-1] for glob in globs if glob.endswith("*")),
                   tuple(glob[1:] for glob in globs if glob.startswith("*")))

    def __bool__(self) -> bool:
        return any(self[:])

    def names_it(self, namespace: str) -> bool:
        """Whether one may carry the label."""
        return (namespace in self.names or namespace.startswith(self.prefixes)
                or namespace.endswith(self.suffixes))

    @property
    def words(self) -> str:
        """Those named, as people read them: `monitoring, kube-*, *-system`."""
        return ", ".join([*self.names, *(f"{prefix}*" for prefix in self.prefixes),
                          *(f"*{suffix}" for suffix in self.suffixes)])

    @property
    def note(self) -> str:
        """What who runs custody is to know of it."""
        return (f"Gatekeeper's policies leave alone what lies in namespaces that carry the label {LABEL}, of these: "
                f"{self.words}")

    def unnamed(self) -> dict[str, Any]:
        """A match condition (CEL) that holds of what lies in a namespace that is not named, and of such a Namespace.

        A review has no `namespace` where there is none (AdmissionRequest: omitempty), and CEL errs on an absent field,
        by which the API server refuses. Of a Namespace it is the name, but for one that the API server is to name
        (`generateName`): that is known of the object alone, and not yet where it is mutated.
        """
        tests = [f"name in {json.dumps(self.names)}"] if self.names else []
        tests += [f"name.startsWith({json.dumps(prefix)})" for prefix in self.prefixes]
        tests += [f"name.endsWith({json.dumps(suffix)})" for suffix in self.suffixes]
        return {"name": "not-exempt", "expression": f'[{_LIES_IN}].exists(name, name != "" && !({" || ".join(tests)}))'}

    def refusal(self, request: Request) -> str:
        """Why a Namespace may not be as it is; "" where it may, and for all else."""
        if request.operation == "DELETE" or (request.kind.group, request.kind.kind) != ("", "Namespace"):
            return ""
        if request.object is None:
            return "the review has no Namespace"
        metadata = request.object.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        labels = metadata.get("labels")
        if not isinstance(labels, dict) or LABEL not in labels or self.names_it(str(metadata.get("name") or "")):
            return ""
        return f"Only exempt namespace can have the {LABEL} label"


NONE = Exemption()
"""No namespace is exempt."""
_EXPECTED = {
    "--exempt-namespace": "the name of a namespace, such as monitoring",
    "--exempt-namespace-prefix": "how names of namespaces begin, such as kube-",
    "--exempt-namespace-suffix": "how names of namespaces end, such as -system",
    "exempt_namespaces": "the name of a namespace, or one with a star at its beginning or its end, such as kube-*"}


def knows(policy: Policy) -> bool:
    """Whether a policy is one of those that leave exempt namespaces alone."""
    return policy.engine == "gatekeeper"
