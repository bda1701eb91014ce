"""Variables that are said instead of found out (`policy.model.Simulated`), among those of a rule's expressions."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from typing import Any

from custody.policy.given import Given
from policylang.variables import NotMadeError

_RULE = "simulated rule"


class LeftOutError(NotMadeError):
    """Nobody is to be asked for the value: it is as if what asks had not been written."""


def of_policy(data: dict[str, Any], given: Given) -> dict[str, Any]:
    """The variables of a request, with those that are said for the policy that is tried."""
    simulated = given.context.simulated
    for values in simulated.policies.values() if simulated is not None else ():
        data = _with(data, values)
    return data


def of_rule(data: dict[str, Any], given: Given, policy: str, rule: str) -> dict[str, Any]:
    """With those of one rule, whose foreach elements are found under its name from then on."""
    simulated = given.context.simulated
    if simulated is None:
        return data
    # Rules that are made of another one take what is said for that.
    base = rule.removeprefix("autogen-cronjob-").removeprefix("autogen-")
    name = f"{policy.rpartition('/')[2]}/{base}"
    given.memo[_RULE] = name
    return _with(data, simulated.rules.get(name, {}))


def of_element(data: dict[str, Any], given: Given) -> dict[str, Any]:
    """With those of one element of a foreach, by its index."""
    simulated, index = given.context.simulated, data.get("elementIndex")
    if simulated is None or not isinstance(index, int):
        return data
    elements = simulated.elements.get(given.memo.get(_RULE, ""), {})
    return _with(data, {name: values[index] for name, values in elements.items() if index < len(values)})


def _with(data: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """What is there stays as it is; along the names' steps it is copied."""
    for name, value in values.items():
        data = _put(data, next(csv.reader([name], delimiter=".")), value)
    return data


def _put(data: dict[str, Any], steps: list[str], value: Any) -> dict[str, Any]:
    here = data.get(steps[0])
    if len(steps) > 1:
        return {**data, steps[0]: _put(here if isinstance(here, dict) else {}, steps[1:], value)}
    if isinstance(value, dict) and isinstance(here, dict):
        return {**data, steps[0]: _with_all(here, value)}
    return {**data, steps[0]: value}


def _with_all(data: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    for name, value in values.items():
        data = _put(data, [name], value)
    return data
