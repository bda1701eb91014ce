"""What the API server lets expressions cost (k8s.io/apiserver pkg/apis/cel/config.go), and what it makes of `==`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from policylang.cel.compile.program import Program
from policylang.cel.cost.tally import CostExceeded, CostModel
from policylang.cel.cost.units import ONE, TRAVERSE, CallEstimate, Estimate, Sized
from policylang.cel.libraries.kubernetes.addresses import Cidr, Ip
from policylang.cel.libraries.kubernetes.authorizer import VALUES
from policylang.cel.libraries.kubernetes.formats import Format
from policylang.cel.libraries.kubernetes.prices import equality, priced
from policylang.cel.libraries.kubernetes.quantity import Quantity
from policylang.cel.libraries.kubernetes.semver import Semver
from policylang.cel.libraries.kubernetes.urls import UrlValue
from policylang.cel.libraries.standard import STANDARD as _STANDARD
from policylang.cel.library import Library
from policylang.cel.values.errors import CelError

COSTS: Final = CostModel(optimized=True)

CALL_LIMIT: Final = 1_000_000  # run time, one expression
BUDGET: Final = 10_000_000  # run time, all expressions of a policy's binding or a custom resource
STATIC_LIMIT: Final = 10_000_000  # estimate, one rule of a CRD
STATIC_TOTAL: Final = 100_000_000  # estimate, all rules of a CRD

_LONGEST_FORMAT = 64
_SPENT = "validation failed due to running out of cost budget, no further validation rules will be run"


def _one_step(_: Sized) -> CallEstimate:
    return CallEstimate(ONE)


def _format(_: Sized) -> CallEstimate:
    return CallEstimate(Estimate(1, _LONGEST_FORMAT).scaled(TRAVERSE))


def _url(right: Sized) -> CallEstimate:
    return CallEstimate(Estimate(1, right.size.most if right.size else 1).scaled(TRAVERSE))


_EQUALITY = equality({Quantity: _one_step, Ip: _one_step, Cidr: _one_step, Semver: _one_step, Format: _format,
                      UrlValue: _url, **dict.fromkeys(VALUES, _one_step)})
STANDARD: Final[Library] = priced(_STANDARD, {"_==_": _EQUALITY})


class Budget:
    """What the expressions of one policy may cost together (pkg/admission/plugin/cel/activation.go).

    For one object and one policy's binding; matchConditions have their own, of 2,500,000.
    """

    def __init__(self, total: int = BUDGET, per_call: int = CALL_LIMIT) -> None:
        self.left, self.per_call = total, per_call

    def evaluate(self, program: Program, variables: Mapping[str, Any]) -> Any:
        """The value of a program compiled with cost.

        CelError, in the API server's words, for an error value and for an expression above its own limit; CostExceeded
        where nothing is left, after which no other expression may be evaluated.
        """
        try:
            value, cost = program.measure(variables, self.per_call)
        except CostExceeded as stopped:
            value, cost = CelError(stopped.message), self.per_call + 1
        if cost > self.left:
            raise CostExceeded(_SPENT)
        self.left -= cost
        if isinstance(value, CelError):
            raise CelError(f"expression '{program.source.text}' resulted in error: {value.message}")
        return value
