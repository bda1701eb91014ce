"""`subjects` of match and exclude: who asks, as Kyverno's command line knows them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.errors import CustodyError
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Kind, Request, User
from tests.conftest import peer
from tests.policy.test_images import NOW, pod

SUBJECTS: dict[str, list[dict[str, str]]] = {
    "user": [{"kind": "User", "name": "ann"}], "star": [{"kind": "User", "name": "a*"}],
    "account-as-user": [{"kind": "User", "name": "system:serviceaccount:build:*"}],
    "group": [{"kind": "Group", "name": "dev"}], "groups": [{"kind": "Group", "name": "system:*"}],
    "account": [{"kind": "ServiceAccount", "name": "ci", "namespace": "build"}],
    "accounts": [{"kind": "ServiceAccount", "name": "*", "namespace": "bu?ld"}],
    "two": [{"kind": "User", "name": "bob"}, {"kind": "Group", "name": "dev"}],
    "cased": [{"kind": "User", "name": "Ann"}]}
USERS = {"ann": User(username="ann", groups=("dev", "system:authenticated")), "bob": User(username="bob"),
         "ci": User(username="system:serviceaccount:build:ci", groups=("system:serviceaccounts",)), "nobody": User()}


def policies() -> list[dict[str, Any]]:
    def one(name: str, match: dict[str, Any], exclude: dict[str, Any] | None = None) -> dict[str, Any]:
        rule = {"name": "r", "match": match, **({"exclude": exclude} if exclude else {}),
                "validate": {"message": "no", "deny": {}}}
        return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name, "annotations": {
            "pod-policies.kyverno.io/autogen-controllers": "none"}}, "spec": {
            "validationFailureAction": "Enforce", "background": False, "rules": [rule]}}

    pods = {"resources": {"kinds": ["Pod"]}}
    made = []
    for name, subjects in SUBJECTS.items():
        made += [one(f"m-{name}", {"any": [{**pods, "subjects": subjects}]}),
                 one(f"l-{name}", {"all": [pods, {**pods, "subjects": subjects}]}),
                 one(f"p-{name}", {**pods, "subjects": subjects}),
                 one(f"x-{name}", {"any": [pods]}, {"any": [{"subjects": subjects}]}),
                 one(f"y-{name}", {"any": [pods]}, {"all": [{**pods, "subjects": subjects}]}),
                 one(f"z-{name}", {"any": [pods]}, {"any": [
                     {"resources": {"names": ["other"]}, "subjects": subjects}]})]
    return made


def spoken(user: User) -> set[str]:
    request = Request(operation="CREATE", kind=Kind("Pod"), namespace="default", name="web", object=pod(), user=user)
    decision = decide(request, {}, PolicySet(policies()), Context(now=NOW))
    return {result.policy for result in decision.results}


def test_a_few() -> None:
    assert {"m-user", "x-group", "z-user"} <= spoken(USERS["bob"]) | spoken(USERS["ann"])
    assert "x-user" not in spoken(USERS["ann"])
    assert "m-cased" not in spoken(USERS["ann"])
    assert {f"{form}-user" for form in "mlpxyz"} <= spoken(USERS["nobody"])  # who asks is not known: nobody is excused


@pytest.mark.peer
@pytest.mark.parametrize("who", USERS)
def test_the_same_policies_speak_as_in_kyverno(who: str, tmp_path: Path) -> None:
    user = USERS[who]
    (tmp_path / "p.yaml").write_text(yaml.safe_dump_all(policies()))
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(pod() | {"metadata": {"name": "web", "namespace": "default"}}))
    (tmp_path / "u.yaml").write_text(yaml.safe_dump({
        "apiVersion": "cli.kyverno.io/v1alpha1", "kind": "UserInfo", "metadata": {"name": "u"},
        "userInfo": {"username": user.username, "groups": [*user.groups]}}))
    command = [peer("kyverno"), "apply", "p.yaml", "--resource", "r.yaml", "-p", "--output-format", "json"]
    command += ["--userinfo", "u.yaml"] if user.username else []
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=120)
    report = json.loads(done.stdout[done.stdout.index("{"):])
    assert {result["policy"] for result in report["results"]} == spoken(user)


@pytest.mark.parametrize(("subject", "message"), [
    ({"kind": "Robot", "name": "x"}, "got 'Robot in no namespace', expected a User, a Group"),
    ({"kind": "ServiceAccount", "name": "x"}, "got 'ServiceAccount in no namespace'"),
    ({"kind": "User", "name": "x", "namespace": "y"}, "got 'User in namespace y'"),
    ({"kind": "User", "name": "{{ request.name }}"}, "expected none: match and exclude have no variables"),
    ({"kind": "User", "name": "x", "apiGroup": "other"}, "subjects[0].apiGroup: 'other' is not evaluated"),
    ({"kind": "User"}, "subjects[0].name: got 'nothing'")])
def test_a_subject_that_is_none_is_refused(subject: dict[str, str], message: str) -> None:
    (document, *_) = policies()
    document["spec"]["rules"][0]["match"]["any"][0]["subjects"] = [subject]
    with pytest.raises(CustodyError) as refused:
        PolicySet([document])
    assert message in refused.value.message


def test_a_match_of_subjects_alone_is_refused_as_kyverno_does() -> None:
    (document, *_) = policies()
    document["spec"]["rules"][0]["match"] = {"any": [{"subjects": SUBJECTS["user"]}]}
    with pytest.raises(CustodyError, match="got 'no resources', expected resources"):
        PolicySet([document])
