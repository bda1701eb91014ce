"""Documents that are broken in one place: refused by custody's own errors, or read and judged, and nothing else."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from custody.errors import CustodyError, MalformedError
from custody.network.calicoselector import parse
from custody.network.connectivity import Connectivity
from custody.network.documents import read
from custody.network.findings import findings
from custody.network.matrix import connections
from custody.network.picture import draw
from custody.network.selector import Scope, matches
from tests.network import generated

VALUES: tuple[Any, ...] = (None, True, False, 0, -1, 80, 65536, 2**70, 1.5, "", "a", "80", "0.0.0.0/0", "::/0",
    "10.0.0.0/33",
                           [], {}, [[]], [{}], {"a": "b"}, [None], ["x", 1], "\u0000\u001b[2J", "x" * 5000, "٨٠",
                            float("nan"))


def places(part: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    reached = [path]
    if isinstance(part, dict):
        for key, value in part.items():
            reached += places(value, (*path, key))
    elif isinstance(part, list):
        for at, value in enumerate(part):
            reached += places(value, (*path, at))
    return reached


def broken(rng: random.Random, document: dict[str, Any]) -> dict[str, Any]:
    """With a value replaced, taken away, or added under a name that is not known."""
    result = copy.deepcopy(document)
    *way, last = rng.choice([place for place in places(result) if place and place[0] not in ("apiVersion", "kind")])
    part = result
    for step in way:
        part = part[step]
    kind = rng.random()
    if kind < .7:
        part[last] = rng.choice(VALUES)
    elif kind < .85:
        del part[last]
    elif isinstance(part, dict):
        part[rng.choice(("unknown", "from", "matchLabels", "cidr", "port"))] = rng.choice(VALUES)
    return result


def pods(rng: random.Random) -> list[dict[str, Any]]:
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x", "labels": {"ns": "x"}}},
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "x", "labels": {"app": "a"}},
             "spec": {"containers": [{"name": "c", "ports": [{"name": "web", "containerPort": 80}]}],
                 "hostNetwork": False},
             "status": {"podIP": "192.168.0.1", "podIPs": [{"ip": "192.168.0.1"}]}},
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": {}}, "status": {"addresses": [
                {"type": "InternalIP", "address": "10.9.0.1"}]}},
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "x"},
             "spec": {"selector": {"app": "a"}}},
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "y"}, "spec": {
                "template": {"metadata": {"labels": {"app": rng.choice("abc")}}, "spec": {"containers": []}}}}]


@pytest.mark.parametrize("seed", range(60))
def test_one_thing_wrong(seed: int) -> None:
    rng = random.Random(seed)
    refused = 0
    for _ in range(12):
        documents = [*pods(rng), *generated.policies(rng)]
        at = rng.randrange(len(documents))
        documents[at] = broken(rng, documents[at])
        try:
            result = read([(f"d{number}", document) for number, document in enumerate(documents)])
        except CustodyError:
            refused += 1
            continue
        engine = Connectivity(result.topology, result.policies)
        findings(engine)
        draw(sorted({pod.shown for pod in result.topology.pods}), connections(engine))
    assert refused > 0


@given(st.text(alphabet=st.sampled_from("abhas()!&|='\"{}, \tinotlcwe"), max_size=60))
@example("has(" * 30)
@example("!" * 900 + "has(a)")
def test_expressions_are_read_or_refused(text: str) -> None:
    with contextlib.suppress(MalformedError):
        matches(parse(text, "selector", lambda key: (Scope.POD, key)), {scope: {"a": "b"} for scope in Scope})


def test_names_that_are_no_names() -> None:
    hostile = "a\u202eb\n<&\u0000"
    documents = pods(random.Random(1))
    documents[1]["metadata"]["name"] = hostile
    documents[1]["metadata"]["labels"] = {hostile: hostile}
    result = read([(f"d{at}", document) for at, document in enumerate(documents)])
    picture = draw(sorted({pod.shown for pod in result.topology.pods}), connections(Connectivity(result.topology)))
    assert all(char.isprintable() or char == "\n" for char in picture)
    assert json.dumps(picture)
