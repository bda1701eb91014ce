"""Rules compile, fail to compile and cost what a real API server says: recorded, and asked again where there is one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apiserver import PEERS, free_port
from tests.conftest import ROOT, peer
from tests.languages.cel_kubernetes.apiserver import (
    Server,
    conditions,
    install,
    ours,
    recorded,
    schema_ours,
    schema_theirs,
    schemas,
    theirs,
    threshold,
    times_for,
    within,
)
from tests.languages.cel_kubernetes.expressions import CONDITIONS, RULES, SCHEMAS

TOOLS = Path(os.environ.get("CUSTODY_PEERS_TOOLS", ROOT.parent / "shared" / "peers"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    for name in ("kube-apiserver", "etcd", "kubectl", "openssl"):
        peer(name)
    script = TOOLS / "apiserver"
    if not script.is_file():
        pytest.skip("the script that boots an API server is not here")
    folder = tmp_path_factory.mktemp("apiserver")
    env = {**os.environ, "PATH": f"{os.environ['PATH']}:{PEERS}", "APISERVER_PORT": str(free_port()),
           "ETCD_PORT": str(free_port())}
    with (folder / "start.log").open("wb") as log:
        try:
            subprocess.run([script, "start", folder], env=env, stdout=log, stderr=log, timeout=120, check=True)
            yield Server(folder)
        finally:
            subprocess.run([script, "stop", folder], env=env, stdout=log, stderr=log, timeout=60, check=False)


@pytest.mark.parametrize(("rule", "times", "says"), [*recorded()])
def test_a_rule_is_accepted_refused_and_priced_as_recorded(rule: str, times: int, says: list[str]) -> None:
    assert ours(rule, times) == says


@pytest.mark.parametrize(("condition", "most"), conditions())
def test_a_condition_costs_what_is_recorded(condition: str, most: int) -> None:
    assert threshold(condition) == most


@pytest.mark.parametrize("number", range(len(SCHEMAS)))
def test_rules_of_a_schema_are_what_is_recorded(number: int) -> None:
    assert schema_ours(SCHEMAS[number]) == schemas()[number]


def test_everything_is_recorded() -> None:
    assert [rule for rule, _, _ in recorded()] == list(RULES)
    assert [condition for condition, _ in conditions()] == list(CONDITIONS)


@pytest.mark.peer
def test_the_api_server_says_the_same_today(server: Server) -> None:
    different = {rule for rule in RULES if theirs(server, rule, times := times_for(rule)) != ours(rule, times)}
    assert different == set()
    assert [schema_theirs(server, schema) for schema in SCHEMAS] == [*map(schema_ours, SCHEMAS)]


@pytest.mark.peer
def test_the_api_server_stops_at_the_same_cost_today(server: Server) -> None:
    asked = conditions()[::24]
    install(server, [condition for condition, _ in asked])
    assert [(within(server, number, most), within(server, number, most + 1))
            for number, (_, most) in enumerate(asked)] == [(True, False)] * len(asked)
