"""ClusterNetworkPolicy, AdminNetworkPolicy and its baseline: tiers, priorities, and what Pass passes on."""

from __future__ import annotations

from typing import Any

import pytest

from custody.errors import MalformedError, UnsupportedError
from custody.network.documents import read_policies
from tests.network.worlds import asked, cluster_policy, engine, pod, policy, verdict, world

WORLD = world(pod("x/a", "10.0.0.1", "http=8080", app="a"), pod("y/b", "10.0.0.2", app="b"),
              pod("y/h", "10.9.0.1", host=True, app="b"), x={"team": "one"}, y={"team": "two"})
EVERYBODY = [{"namespaces": {}}]


def rule(action: str, end: str = "from", peers: Any = None, **rest: Any) -> dict[str, Any]:
    return {"action": action, end: EVERYBODY if peers is None else peers, **rest}


def admin(name: str, priority: int, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": "AdminNetworkPolicy", "metadata": {"name": name},
            "spec": {"priority": priority, "subject": {"namespaces": {}}, **spec}}


def baseline(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": "BaselineAdminNetworkPolicy",
            "metadata": {"name": "default"}, "spec": {"subject": {"namespaces": {}}, **spec}}


@pytest.mark.parametrize(("documents", "expected"), [
    ([cluster_policy("c", 1, ingress=[rule("Deny")])], "denied"),
    ([cluster_policy("c", 1, ingress=[rule("Deny")]), policy("x", ingress=[{}])], "denied"),  # before NetworkPolicies
    ([cluster_policy("c", 1, ingress=[rule("Accept")]), policy("x")], "allowed"),
    ([cluster_policy("c", 1, ingress=[rule("Pass"), rule("Deny")]), policy("x", ingress=[{}])], "allowed"),
    ([cluster_policy("c", 1, ingress=[rule("Pass"), rule("Deny")])], "allowed"),
    ([cluster_policy("c", 1, ingress=[rule("Pass")]), cluster_policy("d", 2, ingress=[rule("Deny")])], "allowed"),
    ([cluster_policy("c", 2, ingress=[rule("Accept")]), cluster_policy("d", 1, ingress=[rule("Deny")])], "denied"),
    ([cluster_policy("c", 1, "Baseline", ingress=[rule("Deny")])], "denied"),
    ([cluster_policy("c", 1, "Baseline", ingress=[rule("Deny")]), policy("x", ingress=[{}])], "allowed"),
    ([cluster_policy("c", 1, "Baseline", ingress=[rule("Accept")]), policy("x")], "denied"),  # what it selects is final
    ([cluster_policy("c", 1, ingress=[rule("Pass")]), cluster_policy("d", 1, "Baseline", ingress=[rule("Deny")])],
     "denied"),
    ([admin("c", 1, ingress=[rule("Allow")]), baseline(ingress=[rule("Deny")])], "allowed"),
    ([admin("c", 1, ingress=[rule("Deny", peers=[{"namespaces": {"matchLabels": {"team": "one"}}}])]),
      baseline(ingress=[rule("Deny")])], "denied"),
    ([cluster_policy("c", 1, egress=[rule("Deny", "to", [{"networks": ["10.0.0.0/30"]}])])], "denied"),
    ([cluster_policy("c", 1, egress=[rule("Deny", "to", [{"networks": ["10.0.1.0/24"]}])])], "allowed"),
    ([cluster_policy("c", 1, ingress=[rule("Deny", protocols=[{"tcp": {"destinationPort": {"number": 80}}}])])],
      "denied"),
    ([cluster_policy("c", 1, ingress=[rule("Deny", protocols=[{"udp": {"destinationPort": {"number": 80}}}])])],
      "allowed"),
    ([cluster_policy("c", 1, ingress=[rule("Deny", protocols=[{"tcp": {"destinationPort": {
        "range": {"start": 80, "end": 90}}}}])])], "denied"),
    ([cluster_policy("c", 1, ingress=[rule("Deny", protocols=[{"destinationNamedPort": "http"}])])], "allowed"),
    ([admin("c", 1, ingress=[rule("Deny", ports=[{"portRange": {"start": 70, "end": 80}}])])], "denied"),
])
def test_who_has_the_last_word(documents: list[dict[str, Any]], expected: str) -> None:
    assert verdict(engine(WORLD, *documents), "y/b", "x/a") == expected


def test_a_tie_is_told() -> None:
    judging = engine(WORLD, cluster_policy("c", 5, ingress=[rule("Accept")]), cluster_policy("d", 5,
        ingress=[rule("Deny")]))
    judgement = asked(judging, "y/b", "x/a")
    assert judgement.verdict.value == "depends"
    assert judgement.ingress is not None
    assert "equal priorities" in judgement.ingress.uncertain[0].reasons[0]
    same = engine(WORLD, cluster_policy("c", 5, ingress=[rule("Deny")]), cluster_policy("d", 5, ingress=[rule("Deny")]))
    assert verdict(same, "y/b", "x/a") == "denied", "where both say the same it does not matter"
    three = engine(WORLD, *(cluster_policy(name, 5, ingress=[rule(word)]) for name, word in
                            (("c", "Accept"), ("d", "Deny"), ("e", "Accept"))))
    assert verdict(three, "y/b", "x/a") == "depends"


def test_domain_names_may_match_any_address_outside() -> None:
    judging = engine(WORLD, cluster_policy("c", 1, egress=[rule("Accept", "to", [{"domainNames": ["*.example.com"]}]),
                                                            rule("Deny", "to", [{"networks": ["0.0.0.0/0"]}])]))
    assert verdict(judging, "x/a", "8.8.8.8") == "depends"
    assert verdict(judging, "x/a", "y/b") == "denied"
    ours = asked(judging, "x/a", "8.8.8.8").egress
    assert ours is not None
    assert ours.uncertain[0].reasons == ("only to addresses of *.example.com",)


def test_hosts_are_not_meant() -> None:
    judging = engine(WORLD, cluster_policy("c", 1, ingress=[rule("Deny")], egress=[rule("Deny", "to")]))
    assert verdict(judging, "y/h", "x/a") == "allowed", "no peer selects a pod on the host's network"
    assert verdict(judging, "y/h", "10.1.1.1") == "allowed", "and no subject"


@pytest.mark.parametrize(("document", "message"), [
    (cluster_policy("c", 1001), "0 to 1000"), (cluster_policy("c", 1, "Middle"), "Admin or Baseline"),
    (cluster_policy("c", 1, ingress=[rule("Allow")]), "Accept or Deny or Pass"),
    (admin("c", 1, ingress=[rule("Accept")]), "Allow or Deny or Pass"),
    (baseline(ingress=[rule("Pass")]), "Allow or Deny"),
    ({**baseline(), "metadata": {"name": "mine"}}, "of which there is one"),
    (cluster_policy("c", 1, ingress=[rule("Deny", peers=[])]), "at least one peer"),
    (cluster_policy("c", 1, ingress=[rule("Deny", peers=[{}])]), "exactly one of namespaces, pods"),
    (cluster_policy("c", 1, ingress=[rule("Deny", peers=[{"namespaces": {}, "pods": {}}])]), "exactly one of"),
    (cluster_policy("c", 1, ingress=[rule("Deny", peers=[{"networks": ["0.0.0.0/0"]}])]), "exactly one of namespaces"),
    (cluster_policy("c", 1, egress=[rule("Deny", "to", [{"domainNames": ["a.b"]}])]), "rules that allow"),
    (cluster_policy("c", 1, egress=[rule("Deny", "to", [{"networks": ["10.0.0.0/8"]}], protocols=[
        {"destinationNamedPort": "http"}])]), "beside a port's name"),
    (baseline(egress=[rule("Allow", "to", [{"domainNames": ["a.b"]}])]), "exactly one of namespaces, pods, nodes"),
    (cluster_policy("c", 1, ingress=[rule("Deny", protocols=[])]), "at least one"),
    (cluster_policy("c", 1, ingress=[rule("Deny", protocols=[{"tcp": {}}])]), "destinationPort"),
    (cluster_policy("c", 1, ingress=[rule("Deny", protocols=[{"tcp": {"destinationPort": {
        "range": {"start": 9, "end": 9}}}}])]), "more than start, 9"),
    (cluster_policy("c", 1, ingress=[rule("Deny")] * 26), "at most 25"),
    (cluster_policy("c", 1, ingress=[rule("Deny", name="n" * 101)]), "at most 100"),
])
def test_what_the_api_server_would_refuse(document: dict[str, Any], message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        read_policies([("d", document)], WORLD)


@pytest.mark.parametrize(("document", "field"), [
    (cluster_policy("c", 1, ingress=[rule("Deny", ports=[])]), "ports"),
    (admin("c", 1, ingress=[rule("Deny", protocols=[])]), "protocols"),
    (admin("c", 1, tier="Admin"), "tier"),
    (admin("c", 1, ingress=[rule("Deny", peers=[{"namespaces": {"sameLabels": ["a"]}}])]), "sameLabels"),
])
def test_fields_of_another_version(document: dict[str, Any], field: str) -> None:
    with pytest.raises(UnsupportedError, match=field):
        read_policies([("d", document)], WORLD)
