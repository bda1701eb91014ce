"""PolicyExceptions of kyverno.io for the policies that rules became, and what the command line makes of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.cli.run import run
from custody.errors import CustodyError, UnsupportedError
from custody.policy.kinds import builtin
from custody.policy.migrate.excepting import exception
from custody.policy.migrate.outcome import Migrated
from custody.policy.migrate.rules import migrate

VALIDATE = {"name": "tag", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "validate": {
    "message": "m", "pattern": {"spec": {"containers": [{"image": "!*:latest"}]}}}}
MUTATE = {"name": "pull", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "mutate": {
    "patchStrategicMerge": {"spec": {"containers": [{"(name)": "*", "imagePullPolicy": "Always"}]}}}}


def policy(*rules: dict[str, Any], name: str = "p") -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name},
            "spec": {"rules": [*rules]}}


def excepting(*names: str, kinds: tuple[str, ...] = ("Pod", "Deployment"), policy_name: str = "p",
              **spec: Any) -> dict[str, Any]:
    match = {"any": [{"resources": {"kinds": [*kinds], "namespaces": ["default", "x*"], "names": ["s*", "x*"]}}]}
    return {"apiVersion": "kyverno.io/v2", "kind": "PolicyException", "metadata": {"name": "e", "namespace": "team"},
            "spec": {"exceptions": [{"policyName": policy_name, "ruleNames": [*names]}], "match": match, **spec}}


def translated(document: dict[str, Any], *policies: dict[str, Any]) -> Migrated:
    done = [(written, migrate(written, builtin(), count=40)) for written in policies]
    return exception(document, done, builtin(), 60)


@pytest.mark.parametrize("names", [("tag", "autogen-tag"), ("*",), ("tag",), ("autogen-*", "tag")])
def test_the_same_requests_are_excepted(names: tuple[str, ...]) -> None:
    made = translated(excepting(*names), policy(VALIDATE))
    assert made.refused is None, (made.refused, made.difference, made.documents)
    (document,) = made.documents
    assert document["metadata"] == {"name": "e", "namespace": "team"}
    assert document["spec"]["policyRefs"] == [{"name": "p", "kind": "ValidatingPolicy"}]
    kinds = "['Pod']" if names == ("tag",) else "['Deployment', 'Pod']"
    assert document["spec"]["matchConditions"][0]["expression"] == f"request.kind.kind in {kinds}"


def test_rules_of_several_forms_and_their_policies() -> None:
    made = translated(excepting("*", conditions={"any": [
        {"key": "{{ request.object.metadata.labels.a || '' }}", "operator": "NotEquals", "value": "b"}]}),
        policy(VALIDATE, MUTATE))
    assert made.refused is None, (made.refused, made.difference, made.documents)
    assert [ref["name"] for ref in made.documents[0]["spec"]["policyRefs"]] == [
        "p-tag", "p-pull", "p-pull-controllers", "p-pull-cronjobs"]


@pytest.mark.parametrize(("document", "path", "words"), [
    (excepting("tag", podSecurity=[{"controlName": "Capabilities", "images": ["*"]}]), "spec.podSecurity",
     "all of a policy"),
    (excepting("tag", background=False), "spec.background", "what lies there"),
    (excepting("tag", policy_name="q"), "spec.exceptions[0].policyName", "none of the policies"),
    (excepting("other"), "spec.exceptions", "none of the rules"),
    (excepting("deny"), "spec.exceptions[0].ruleNames", "stays behind"),
])
def test_what_has_no_words_is_refused(document: dict[str, Any], path: str, words: str) -> None:
    denying = {**VALIDATE, "name": "deny", "match": {"any": [{"resources": {"kinds": ["Pod"]}, "roles": ["a:b"]}]}}
    written = policy(VALIDATE, denying) if "deny" in str(document) else policy(VALIDATE)
    refused = translated(document, written).refused
    assert isinstance(refused, UnsupportedError)
    assert path in refused.message
    assert words in refused.message


def test_what_is_no_exception_is_refused() -> None:
    with pytest.raises(CustodyError, match="metadata"):
        exception({"apiVersion": "kyverno.io/v2", "kind": "PolicyException", "spec": {}}, [], builtin(), 5)


def test_lists_comments_and_exceptions_before_policies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = {"apiVersion": "v1", "kind": "List", "items": [excepting("tag", "autogen-tag"), policy(VALIDATE)]}
    (tmp_path / "in.yaml").write_text("# who asked for it\n" + yaml.safe_dump(items))
    assert run(["policy", "migrate", str(tmp_path / "in.yaml"), "-o", str(tmp_path / "out"), "--samples", "60"]) == 0
    assert "of them excepted" in capsys.readouterr().err
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["p.yaml", "team-e.yaml"]
    assert (tmp_path / "out/p.yaml").read_text().startswith("# who asked for it\n")
