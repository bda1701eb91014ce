"""A policy's variables, paid for from its budget; what says the same of the same request is computed once.

The API server computes variables anew for validations, for messages and for annotations, and for each policy, and each
time takes what they cost. Values are the same each time, so they are kept, with what they cost, and paid for where they
are used again: by all variables that they may have read, which is as much as the API server takes, or more. Where the
budget is not enough for that, everything is evaluated again, and nothing kept is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from custody.kit.digest import sha256
from custody.policy.cel.environment import Expressions
from custody.policy.cel.variables import Variables
from custody.policy.given import Given
from policylang.cel.compile.program import Program
from policylang.cel.cost.tally import CostExceeded
from policylang.cel.kubernetes.costs import Budget
from policylang.cel.values.errors import CelError

_MEMO = "cel variables"
_PARAMETERS = "params"
# Evidence is of the request's time, whatever image it is asked about.
_REQUEST = frozenset(("object", "oldObject", "request", "namespaceObject", "authorizer", "anyObject", "evidence"))
_MOST = 256
"""Parameters whose variables are kept."""


class Kept(NamedTuple):
    value: Any
    """A CelError where the variable is one."""
    costs: Mapping[str, int]
    """Of all variables that were computed with it, each by itself."""


class Reading(NamedTuple):
    """Of one variable. `key`: what it says, the same in all policies that say it."""

    key: str
    names: tuple[str, ...]
    """The variable and all that it may read."""
    parameters: bool
    request: bool

    @property
    def place(self) -> int:
        """Where it is kept: with the parameters, with the request, or for both."""
        return 2 if self.parameters and self.request else 1 if self.request else 0


def readings(expressions: Expressions, bound: Iterable[str]) -> dict[str, Reading]:
    """By variable; without those of which it is not known what they read."""
    made: dict[str, Reading] = {name: Reading(name, (), name == _PARAMETERS, name != _PARAMETERS) for name in bound}
    for name, program in expressions.variables.items():
        names = expressions.selected[name]
        inner = [selected.removeprefix("variables.") for selected in names if selected.startswith("variables.")]
        if "variables" in names or not all(variable in made for variable in inner):
            continue
        read = [made[variable] for variable in sorted(inner)]
        parameters = _PARAMETERS in names or any(reading.parameters for reading in read)
        request = any(selected.partition(".")[0] in _REQUEST for selected in names) or any(
            reading.request for reading in read)
        key = sha256("\0".join([name, program.source.text, *(
            f"{variable}={made[variable].key}" for variable in sorted(inner))]).encode())
        closed = dict.fromkeys([name, *(closed for reading in read for closed in reading.names)])
        made[name] = Reading(key, tuple(closed), parameters, request)
    return {name: made[name] for name in expressions.variables if name in made}


Kinds = tuple[dict[str, Kept], dict[str, Kept], dict[str, Kept]]
"""By `Reading.place`."""


class Memory:
    """What one policy keeps: of its parameters for as long as they are the same, of a request in the request."""

    def __init__(self, readings: Mapping[str, Reading]) -> None:
        self.places = {name: (reading.place, reading.key, reading.names) for name, reading in readings.items()}
        self._by_parameters: dict[int, tuple[Any, dict[str, Kept]]] = {}

    def of(self, given: Given, parameters: Any) -> Kinds:
        held = self._by_parameters.get(id(parameters))
        if held is None or held[0] is not parameters:
            if len(self._by_parameters) >= _MOST:
                self._by_parameters.clear()
            held = self._by_parameters[id(parameters)] = parameters, {}
        shared = given.memo.get(_MEMO)
        if shared is None:
            shared = given.memo[_MEMO] = {}
        return held[1], shared, {}


class Budgeted(Variables):
    """Variables whose cost is taken from what is left for the expressions that use them."""

    __slots__ = ("_budget", "_costs", "_kept", "_places", "_shared")

    def __init__(self, programs: Mapping[str, Program], values: dict[str, Any], budget: Budget,
                 places: Mapping[str, tuple[int, str, tuple[str, ...]]], kept: Kinds | None) -> None:
        """`places`: the memory's. `kept`: None where everything is to be computed."""
        super().__init__(programs, values)
        self._budget, self._places, self._kept = budget, places, kept
        self._costs: dict[str, int] = {}
        self._shared: dict[str, Any] | None = None

    @property
    def environment(self) -> dict[str, Any]:
        """One for all expressions, and a circle until the block ends."""
        if self._shared is None:
            self._shared = super().environment
        return self._shared

    def __enter__(self) -> dict[str, Any]:
        return self.environment

    def __exit__(self, *_: object) -> None:
        self._shared = None

    def __missing__(self, name: str) -> Any:
        """Raises CelError, and CostExceeded where nothing is left."""
        error = self._errors.get(name)
        if error is None:
            value = self._value(name)
            if type(value) is not CelError:
                self[name] = value
                return value
            error = self._errors[name] = value
        raise CelError(f'composited variable "{name}" fails to evaluate: {error.message}') from None

    def _value(self, name: str) -> Any:
        costs, budget, kept, key = self._costs, self._budget, None, ""
        if self._kept is not None and (place := self._places.get(name)) is not None:
            kind, key, names = place
            kept = self._kept[kind]
            if (known := kept.get(key)) is not None:
                for variable in names:
                    if variable in known.costs and variable not in costs:
                        costs[variable] = cost = known.costs[variable]
                        budget.left -= cost
                self._enough()
                return known.value
        program, values = self._programs[name], self.environment
        value, cost = program.measure(values, budget.per_call)
        budget.left -= cost
        self._enough()
        if type(value) is CelError:
            value = said_plainly(value, program, values)
        costs[name] = cost
        if kept is not None:
            kept[key] = Kept(value, costs)
        return value

    def _enough(self) -> None:
        if self._budget.left < 0:
            raise CostExceeded("validation failed due to running out of cost budget, no further validation rules will "
                               "be run")


def said_plainly(error: CelError, program: Program, values: dict[str, Any]) -> CelError:
    """cel-go's own words for an operator that has no overload: the program that counts its costs says which one."""
    if error.message.startswith("no such overload: "):
        try:
            program(values)
        except CelError as wrong:
            return wrong
    return error
