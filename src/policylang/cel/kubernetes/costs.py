"""Costs that the API server adds to cel-go's (k8s.io/apiserver pkg/cel/library/cost.go, 0.34), and its limits."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, Final

from policylang.cel.cost.prices import CelCosts, size_of
from policylang.cel.cost.units import (
    ENDLESS,
    LIST,
    ONE,
    PATTERN,
    STRUCT,
    TRAVERSE,
    UNKNOWN,
    CallEstimate,
    Estimate,
    Estimator,
    Sized,
    fixed,
)
from policylang.cel.libraries.kubernetes.addresses import CIDR, IP, Cidr, Ip
from policylang.cel.libraries.kubernetes.authorizer import (
    AUTHORIZER,
    DECISION,
    GROUP_CHECK,
    PATH_CHECK,
    RESOURCE_CHECK,
    AuthorizerValue,
    Decision,
    GroupCheck,
    PathCheck,
    ResourceCheck,
)
from policylang.cel.libraries.kubernetes.formats import FORMAT, LONGEST_PATTERN, Format
from policylang.cel.libraries.kubernetes.quantity import QUANTITY, Quantity
from policylang.cel.libraries.kubernetes.semver import SEMVER, Semver
from policylang.cel.libraries.kubernetes.urls import URL, UrlValue
from policylang.cel.syntax.tree import Literal

CALL_LIMIT: Final = 1_000_000  # run time, one expression
BUDGET: Final = 10_000_000  # run time, all expressions of a policy's binding or a custom resource
MATCH_BUDGET: Final = 2_500_000  # run time, all match conditions for one object
STATIC_LIMIT: Final = 10_000_000  # estimate, one rule of a CRD
STATIC_TOTAL: Final = 100_000_000  # estimate, all rules of a CRD
REQUEST_SIZE: Final = 3 * 1024 * 1024  # bytes

_CHECK = 350_000
_LONGEST_FORMAT = 64
_NOMINAL = frozenset({
    "serviceAccount", "path", "group", "resource", "subresource", "namespace", "name", "allowed", "reason", "error",
    "errored", "masked", "prefixLength", "family", "isUnspecified", "isLoopback", "isLinkLocalMulticast",
    "isLinkLocalUnicast", "isGlobalUnicast", "format.named", "sign", "asInteger", "isInteger", "asApproximateFloat",
    "isGreaterThan", "isLessThan", "compareTo", "add", "sub", "major", "minor", "patch", "getScheme", "getHostname",
    "getHost", "getPort", "getEscapedPath", "getQuery",
})
_WALKED = frozenset({"isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"})
_READ = frozenset({"cidr", "isIP", "isCIDR", "quantity", "isQuantity", "semver", "isSemver"})
_ONE_STEP = (IP, CIDR, QUANTITY, AUTHORIZER, PATH_CHECK, GROUP_CHECK, RESOURCE_CHECK, DECISION, SEMVER)
_ADDRESS = Estimate(4, 16)  # bytes


class KubernetesEstimator:
    """`inputs` knows sizes of inputs, e.g. from a schema."""

    def __init__(self, inputs: Estimator | None = None) -> None:
        self.inputs = inputs

    def size(self, of: Sized) -> Estimate | None:
        return self.inputs.size(of) if self.inputs else None

    def _size(self, of: Sized) -> Estimate:
        return of.size or self.size(of) or UNKNOWN

    def call(self, function: str, overload: str, target: Sized | None, args: Sequence[Sized]) -> CallEstimate | None:
        if function in _NOMINAL:
            return CallEstimate(ONE)
        if function == "check":
            return CallEstimate(fixed(_CHECK))
        if function in _WALKED:
            return self._walk(target) if target else None
        if function == "_==_":
            return self._equal(*args) if len(args) == 2 else None
        if target is not None and function in _ON_TARGET:
            return _ON_TARGET[function](self, target, args)
        if args and function in _ON_ARGUMENTS:
            return _ON_ARGUMENTS[function](self, overload, args)
        return CallEstimate(ONE) if overload == "cidr_ip" else None

    def _walk(self, target: Sized) -> CallEstimate:
        element = target.element()
        if element is None:  # indexOf of a text
            return CallEstimate(self._size(target).scaled(TRAVERSE))
        each = ONE
        if element.type.kind in ("string", "bytes"):
            each = each.plus((self.size(element) or UNKNOWN).scaled(TRAVERSE))
        return CallEstimate(self._size(target).times(each))

    def _equal(self, one: Sized, other: Sized) -> CallEstimate | None:
        if one.type != other.type:
            return None
        if one.type in _ONE_STEP:
            return CallEstimate(ONE)
        if one.type == FORMAT:
            return CallEstimate(Estimate(1, _LONGEST_FORMAT).scaled(TRAVERSE))
        if one.type == URL:
            most = other.size.most if other.size else 1
            return CallEstimate(Estimate(1, most).scaled(TRAVERSE))
        return None

    # ── on texts and lists ──────────────────────────────────────────────────────────────────────────────────────────

    def _same_text(self, target: Sized, _: Sequence[Sized]) -> CallEstimate:
        size = self._size(target)
        return CallEstimate(size.scaled(TRAVERSE), size)

    def _replace(self, target: Sized, args: Sequence[Sized]) -> CallEstimate | None:
        if len(args) < 2:
            return None
        size, old, new = self._size(target), self._size(args[0]), self._size(args[1])
        if old.least == 0:
            most_times, most_kept = min(size.most + 1, ENDLESS), size.most
        elif new.most <= old.least:
            most_times, most_kept = 0, size.most
        else:
            most_times, most_kept = ceil(float(size.most) / old.least), 0
        if old.most == 0:
            least_times, least_kept = min(size.least + 1, ENDLESS), size.least
        elif old.most <= new.least:
            least_times, least_kept = 0, size.least
        else:
            least_times, least_kept = ceil(float(size.least) / old.most), 0
        times = Estimate(min(least_times, ENDLESS), min(most_times, ENDLESS))
        made = times.times(new).plus(Estimate(least_kept, most_kept))
        return CallEstimate(size.scaled(2 * TRAVERSE), made)

    def _split(self, target: Sized, args: Sequence[Sized]) -> CallEstimate:
        size = self._size(target)
        most = size.most
        if len(args) > 1 and isinstance(node := args[1].node, Literal) and type(node.value) is int:
            most = node.value & ENDLESS
        return CallEstimate(size.scaled(2 * TRAVERSE), Estimate(0, most))

    def _join(self, target: Sized, args: Sequence[Sized]) -> CallEstimate:
        count, size = self._size(target), fixed(0)
        if (element := target.element()) is not None:
            size = count.times(self.size(element) or UNKNOWN)
        if args:
            gaps = Estimate(max(count.least - 1, 0), max(count.most - 1, 0))
            size = size.plus(self._size(args[0]).times(gaps))
        return CallEstimate(size.scaled(TRAVERSE), size)

    def _found(self, target: Sized, args: Sequence[Sized]) -> CallEstimate | None:
        if not args:
            return None
        size = self._size(target)
        cost = size.plus(ONE).scaled(TRAVERSE).times(self._size(args[0]).scaled(PATTERN))
        return CallEstimate(cost, Estimate(0, size.most))

    # ── by arguments ────────────────────────────────────────────────────────────────────────────────────────────────

    def _reads(self, overload: str, args: Sequence[Sized]) -> CallEstimate:
        if overload == "cidr_ip":
            return CallEstimate(ONE)
        return CallEstimate(self._size(args[0]).scaled(TRAVERSE))

    def _reads_twice(self, _: str, args: Sequence[Sized]) -> CallEstimate:
        return CallEstimate(self._size(args[0]).scaled(2 * TRAVERSE))

    def _keeps(self, _: str, args: Sequence[Sized]) -> CallEstimate:
        size = self._size(args[0])
        return CallEstimate(size.scaled(TRAVERSE), size)

    def _selector(self, _: str, args: Sequence[Sized]) -> CallEstimate:
        return CallEstimate(_selector_cost(self._size(args[0])))

    def _contains(self, overload: str, args: Sequence[Sized]) -> CallEstimate:
        cost = _ADDRESS.plus(_ADDRESS).scaled(TRAVERSE)
        if overload.startswith("cidr_contains_cidr"):
            cost = cost.plus(_ADDRESS.scaled(TRAVERSE)).plus(ONE)
        if overload.endswith("_string"):
            cost = cost.plus(self._size(args[0]).scaled(TRAVERSE))
        return CallEstimate(cost)

    def _validate(self, _: str, args: Sequence[Sized]) -> CallEstimate:
        return CallEstimate(self._size(args[0]).scaled(TRAVERSE).scaled(LONGEST_PATTERN * PATTERN))


_ON_TARGET = {
    **dict.fromkeys(("lowerAscii", "upperAscii", "substring", "trim"), KubernetesEstimator._same_text),
    "replace": KubernetesEstimator._replace,
    "split": KubernetesEstimator._split,
    "join": KubernetesEstimator._join,
    "find": KubernetesEstimator._found,
    "findAll": KubernetesEstimator._found,
}
_ON_ARGUMENTS = {
    **dict.fromkeys((*_READ, "ip"), KubernetesEstimator._reads),
    "ip.isCanonical": KubernetesEstimator._reads_twice,
    **dict.fromkeys(("url", "jsonpatch.escapeKey"), KubernetesEstimator._keeps),
    **dict.fromkeys(("fieldSelector", "labelSelector"), KubernetesEstimator._selector),
    **dict.fromkeys(("containsIP", "containsCIDR"), KubernetesEstimator._contains),
    "validate": KubernetesEstimator._validate,
}


def _selector_cost(length: Estimate) -> Estimate:
    """A list, a look at each character, and a list and a struct for every two of them."""
    needs = length.scaled(0.5).scaled(LIST + STRUCT)
    return fixed(LIST).plus(length.scaled(TRAVERSE)).plus(needs)


# ── at run time ─────────────────────────────────────────────────────────────────────────────────────────────────────

_ATOMS = (Quantity, Ip, Cidr, Format, UrlValue, Semver, AuthorizerValue, PathCheck, GroupCheck, ResourceCheck, Decision)


class KubernetesCosts(CelCosts):
    """Run-time costs of calls as the API server counts them."""

    optimized = True

    def known(self, function: str, overload: str, arguments: tuple[Any, ...], result: Any) -> int:
        if function in _NOMINAL:
            return 1
        first = arguments[0] if arguments else None
        if function == "check":
            return _CHECK
        if function in _WALKED:
            return _walked(first) if arguments else 0
        if function == "_==_":
            return 1 if isinstance(first, _ATOMS) else super().known(function, overload, arguments, result)
        if arguments and function in _TEXT_COSTS:
            return ceil(size_of(first) * _TEXT_COSTS[function] * TRAVERSE)
        if overload == "cidr_ip":
            return 1
        if arguments and function == "ip":
            return ceil(size_of(first) * TRAVERSE)
        if arguments and function == "join":
            return ceil(size_of(result) * 2 * TRAVERSE)
        if len(arguments) > 1:
            if function in ("find", "findAll"):
                return ceil((1.0 + size_of(first)) * TRAVERSE) * ceil(size_of(arguments[1]) * PATTERN)
            if function in ("containsIP", "containsCIDR"):
                return _contained(overload, first, arguments[1])
            if function in ("fieldSelector", "labelSelector"):
                return _selector_cost(fixed(size_of(arguments[1]))).most
            if function == "validate" and isinstance(first, Format):
                return ceil((1.0 + size_of(arguments[1])) * TRAVERSE) * ceil(first.pattern_size * PATTERN)
        return super().known(function, overload, arguments, result)


_TEXT_COSTS = {
    **dict.fromkeys(("url", "lowerAscii", "upperAscii", "substring", "trim", "jsonpatch.escapeKey", *_READ), 1),
    **dict.fromkeys(("replace", "split", "ip.isCanonical"), 2),
}


def _contained(overload: str, outer: Any, inner: Any) -> int:
    size = size_of(outer)
    cost = ceil((size + size) * TRAVERSE)
    if overload.startswith("cidr_contains_cidr"):
        cost += ceil(size * TRAVERSE) + 1
    return cost + (ceil(size_of(inner) * TRAVERSE) if overload.endswith("_string") else 0)


def _walked(value: Any) -> int:
    """A walk through everything in `value`."""
    if isinstance(value, str):
        return int(len(value.encode()) * TRAVERSE)
    if isinstance(value, bytes):
        return int(len(value) * TRAVERSE)
    if isinstance(value, list):
        return sum(map(_walked, value))
    if isinstance(value, dict):
        return sum(_walked(key) + _walked(each) for key, each in value.items())
    return 1
