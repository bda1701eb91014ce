"""`custody check`: yes is only said of what was judged. Each test is named after the case it keeps true."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.cli.run import run
from custody.policy.kinds import builtin
from custody.sign.keys import encrypt_key, generate_key

PRIVILEGED: dict[str, Any] = {"spec": {"containers": [{"=(securityContext)": {"=(privileged)": "false"}}]}}


NO_AUTOGEN = {"pod-policies.kyverno.io/autogen-controllers": "none"}


def policy(name: str, *, kinds: tuple[str, ...] = ("Pod",), autogen: bool = False, **rule: Any) -> dict[str, Any]:
    body = rule or {"validate": {"message": "no.", "pattern": PRIVILEGED}}
    metadata = {"name": name, **({} if autogen else {"annotations": NO_AUTOGEN})}
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": metadata, "spec": {
        "validationFailureAction": "Enforce", "rules": [
            {"name": "r", "match": {"any": [{"resources": {"kinds": list(kinds)}}]}, **body}]}}


def pod(name: str = "web", *, privileged: bool = False, image: str = "nginx", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"}, "spec": {
        "containers": [{"name": "c", "image": image, "securityContext": {"privileged": privileged}}], **spec}}


def template(kind: str, **metadata: Any) -> dict[str, Any]:
    spec: Any = {"template": {"spec": pod()["spec"]}}
    if kind == "CronJob":
        spec = {"jobTemplate": {"spec": spec}}
    group = "batch/v1" if kind in ("Job", "CronJob") else "apps/v1"
    return {"apiVersion": group, "kind": kind, "metadata": {"name": "d", "namespace": "shop", **metadata},
            "spec": spec}


class Cli:
    """Runs `custody check` in a folder with policies p0.yaml, p1.yaml …"""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys

    def write(self, name: str, *documents: Any) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump_all(documents))
        return name

    def __call__(self, *arguments: str, policies: tuple[dict[str, Any], ...] = (policy("unprivileged"),)) -> int:
        names = [self.write(f"policies/p{at}.yaml", document) for at, document in enumerate(policies)]
        code = run(["check", *arguments, *(word for name in names for word in ("--policy", name))])
        self.out, self.err = self.capsys.readouterr()
        return code


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    return Cli(tmp_path, capsys)


# ── a third verdict ─────────────────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"])
def test_check_cronjob_allowed(cli: Cli, kind: str) -> None:
    """Also the case check-says-allowed-unjudged."""
    assert cli(cli.write("d.yaml", template(kind))) == 4
    assert cli.out.startswith(f"{kind}/shop/d: not judged  (inputs sha256:")
    assert "- unprivileged/r  its match does not select this request" in cli.out
    where = "/spec/jobTemplate/spec/template/spec" if kind == "CronJob" else "/spec/template/spec"
    assert f"? {where}  not judged" in cli.out
    assert f"1 of 1 not judged, such as {kind}/shop/d: no rule speaks of it" in cli.err
    assert "--allow-unjudged" in cli.err
    assert cli("d.yaml", "--allow-unjudged") == 0


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"])
def test_what_autogen_makes_of_a_rule_judges_the_template(cli: Cli, kind: str) -> None:
    rule = "autogen-cronjob-r" if kind == "CronJob" else "autogen-r"
    policies = (policy("unprivileged", autogen=True),)
    assert cli(cli.write("d.yaml", template(kind)), policies=policies) == 0
    assert f"{kind}/shop/d: allowed" in cli.out
    assert f"unprivileged/{rule}" in cli.out
    bad = template(kind)
    holder = bad["spec"]["jobTemplate"]["spec"] if kind == "CronJob" else bad["spec"]
    holder["template"]["spec"]["containers"][0]["securityContext"]["privileged"] = True
    assert cli(cli.write("d.yaml", bad), policies=policies) == 3
    where = "/spec/jobTemplate/spec/template/spec" if kind == "CronJob" else "/spec/template/spec"
    assert f"rule {rule} failed at path {where}/containers/0/securityContext/privileged/" in cli.out


def test_pod_templates_of_custom_resources_are_named_as_not_judged(cli: Cli) -> None:
    rollout = {**template("Deployment"), "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}
    assert cli(cli.write("r.yaml", rollout)) == 4
    assert "Rollout/shop/d: not judged" in cli.out
    assert "? /spec/template/spec  not judged" in cli.out


def test_a_policy_in_a_folder_of_manifests_is_no_pod_template(cli: Cli) -> None:
    cli.write("all/policy.yaml", policy("p", validate={"message": "m", "pattern": {"spec": {
        "containers": [{"image": "ghcr.io/*"}]}}}))
    cli.write("all/pod.yaml", pod())
    assert cli("all") == 0
    assert "2 resources: 1 allowed, 0 denied, 1 not judged" in cli.out
    assert "? " not in cli.out


def test_a_rule_about_labels_does_not_judge_the_pod_template_beside_it(cli: Cli) -> None:
    labels = policy("labels", kinds=("Deployment",), validate={
        "message": "labels", "pattern": {"metadata": {"labels": {"app": "?*"}}}})
    name = cli.write("d.yaml", template("Deployment", labels={"app": "x"}))
    assert cli(name, policies=(labels, policy("unprivileged"))) == 4
    assert "Deployment/shop/d: allowed" in cli.out
    assert "the rules about pods do not see the pod template at /spec/template/spec" in cli.err
    # Where no loaded rule is about pods there is nothing that could have judged the template; it is still named.
    assert cli(name, policies=(labels,)) == 0
    assert "? /spec/template/spec  not judged" in cli.out


def test_a_rule_that_looks_into_the_template_judges_it(cli: Cli) -> None:
    deep = policy("deep", kinds=("Deployment",), validate={
        "message": "no.", "pattern": {"spec": {"template": PRIVILEGED}}})
    assert cli(cli.write("d.yaml", template("Deployment")), policies=(deep, policy("unprivileged"))) == 0
    assert "? " not in cli.out


@pytest.mark.parametrize("validate", [
    {"foreach": [{"list": "request.object.spec.containers", "pattern": {"image": "?*"}}]},
    {"pattern": {"=(metadata)": {"=(labels)": {"=(app)": "?*"}}}},
    {"cel": {"expressions": [{"expression": "object.spec.containers.all(c, has(c.image))"}]}},
])
def test_a_rule_that_autogen_made_judges_the_template(cli: Cli, validate: dict[str, Any]) -> None:
    name = cli.write("d.yaml", template("Deployment"))
    made = policy("made", autogen=True, validate={"message": "m", **validate})
    assert cli(name, policies=(made,)) == 0
    assert "Deployment/shop/d: allowed" in cli.out
    assert "? " not in cli.out
    # One that is named as if it were, about something beside the template, is not.
    named = policy("named", kinds=("Deployment",), validate={
        "message": "m", "pattern": {"metadata": {"=(labels)": {"=(app)": "?*"}}}})
    named["spec"]["rules"][0]["name"] = "autogen-named"
    assert cli(name, policies=(named,)) == 0
    assert "? /spec/template/spec  not judged" in cli.out


def test_a_list_over_the_templates_containers_judges_it(cli: Cli) -> None:
    listed = policy("listed", kinds=("Deployment",), validate={
        "message": "m", "foreach": [{"list": "request.object.spec.template.spec.containers",
                                     "pattern": {"image": "?*"}}]})
    assert cli(cli.write("d.yaml", template("Deployment")), policies=(listed, policy("unprivileged"))) == 0
    assert "? " not in cli.out


@pytest.mark.parametrize(("expression", "seen"), [
    ("object.spec.template.spec.containers.all(c, has(c.image))", True),
    ("object.spec.template.?spec.hostNetwork.orValue(false) == false", True),
    ("!has(object.spec.template.metadata)", False),
    ("object.kind == 'Deployment'", False),
])
def test_a_result_without_a_rule_is_called_by_its_policy(cli: Cli, expression: str, seen: bool) -> None:
    deployments = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
    own = {"apiVersion": "policies.kyverno.io/v1", "kind": "ValidatingPolicy", "metadata": {"name": "own"},
           "spec": {"matchConstraints": {"resourceRules": [deployments]}, "validations": [{"expression": expression}]}}
    assert cli(cli.write("d.yaml", template("Deployment")), policies=(own,)) == 0
    assert "  ✓ own\n" in cli.out
    assert ("? /spec/template/spec  not judged" in cli.out) is not seen


def test_everything_unjudged_is_no_yes_also_without_containers(cli: Cli) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    assert cli(cli.write("c.yaml", config)) == 4
    assert "1 of 1 not judged, such as ConfigMap/default/c: no rule speaks of it" in cli.err
    # Beside a pod that was judged it is no news: nothing in it runs.
    assert cli("c.yaml", cli.write("p.yaml", pod())) == 0
    assert "2 resources: 1 allowed, 0 denied, 1 not judged" in cli.out


@pytest.mark.parametrize(("rule", "reason"), [
    ({"preconditions": {"all": [{"key": "{{ request.operation }}", "operator": "Equals", "value": "UPDATE"}]},
      "validate": {"message": "no.", "pattern": PRIVILEGED}}, "preconditions not met"),
    ({"validate": {"message": "no.", "pattern": {"spec": {"containers": [{"(name)": "other", "image": "x"}]}}}},
     "conditional anchor mismatch"),
    ({"exclude": {"any": [{"resources": {"namespaces": ["shop"]}}]},
      "validate": {"message": "no.", "pattern": PRIVILEGED}}, "its exclude leaves this request out"),
    ({"verifyImages": [{"imageReferences": ["ghcr.io/*"], "attestors": [{"entries": [{"keyless": {
        "subject": "a", "issuer": "b", "rekor": {"url": "https://x"}}}]}]}]},
     "it has nothing to judge in this request"),
])
def test_check_vacuous_allow(cli: Cli, rule: dict[str, Any], reason: str) -> None:
    assert cli(cli.write("p.yaml", pod()), policies=(policy("p", **rule),)) == 4
    assert "Pod/shop/web: not judged" in cli.out
    assert cli("p.yaml", "-o", "json", policies=(policy("p", **rule),)) == 4
    entry, = json.loads(cli.out)
    assert (entry["verdict"], entry["allowed"], entry["spoke"]) == ("not judged", False, [])
    assert [(skipped["policy"], skipped["rule"]) for skipped in entry["skipped"]] == [("p", "r")]
    assert reason in entry["skipped"][0]["reason"]


def test_json_says_which_rules_spoke_and_which_did_not(cli: Cli) -> None:
    other = policy("others", kinds=("Service",))
    assert cli(cli.write("p.yaml", pod(privileged=True)), "-o", "json", policies=(policy("mine"), other)) == 3
    entry, = json.loads(cli.out)
    assert (entry["verdict"], entry["spoke"]) == ("denied", ["mine/r"])
    assert entry["skipped"] == [{"policy": "others", "rule": "r", "reason": "its match does not select this request"}]


# ── what was given ──────────────────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("document", [
    {"apiVersion": "v1", "kind": "List", "items": [pod(privileged=True)]},
    {"apiVersion": "v1", "kind": "PodList", "items": [pod(privileged=True)]},
    {"apiVersion": "v1", "kind": "PodList",
     "items": [{key: value for key, value in pod(privileged=True).items() if key not in ("kind", "apiVersion")}]},
    {"apiVersion": "v1", "kind": "List", "items": [{"kind": "List", "items": [pod(), pod(privileged=True)]}]},
])
def test_check_list_allowed(cli: Cli, document: dict[str, Any]) -> None:
    assert cli(cli.write("list.yaml", document)) == 3
    assert "Pod/shop/web: denied" in cli.out
    assert "no. rule r failed at path /spec/containers/0/securityContext/privileged/" in cli.out


@pytest.mark.parametrize("shape", ["documents", "List", "List in List", "standard input", "folder"])
def test_check_says_allowed_unjudged(cli: Cli, shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every kind that Kubernetes serves: no rule speaks of it, so nobody says that it is allowed, however it is
    given; and the pod among them is denied."""
    every = [{"apiVersion": f"{kind.group}/{kind.version}".lstrip("/"), "kind": kind.kind,
              "metadata": {"name": f"n{at}"}} for at, kind in enumerate(builtin().resources)
             if kind.kind not in ("Pod", "List")]
    assert len(every) > 40
    inner = {"apiVersion": "v1", "kind": "List", "items": every[::2]}
    given = {"documents": every, "standard input": every, "folder": every,
             "List": [{"apiVersion": "v1", "kind": "List", "items": every}],
             "List in List": [{"apiVersion": "v1", "kind": "List", "items": [inner, *every[1::2]]}]}[shape]
    bad = [*given, {"apiVersion": "v1", "kind": "List", "items": [pod("bad", privileged=True)]}]
    for documents, code in ((given, 4), (bad, 3)):
        name = cli.write("all/r.yaml", *documents)
        if shape == "standard input":
            text = (cli.folder / name).read_bytes()
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
        assert cli({"standard input": "-", "folder": "all"}.get(shape, name), "-o", "json") == code
        verdicts = {entry["resource"]: (entry["verdict"], entry["allowed"]) for entry in json.loads(cli.out)}
        assert verdicts.pop("Pod/shop/bad", None) == (("denied", False) if code == 3 else None)
        assert len(verdicts) == len(every)
        assert set(verdicts.values()) == {("not judged", False)}


def test_lists_within_lists_end(cli: Cli) -> None:
    document: dict[str, Any] = pod()
    for _ in range(12):
        document = {"kind": "List", "items": [document]}
    assert cli(cli.write("list.yaml", document)) == 2
    assert "got 'Lists within Lists without end', expected at most 8 levels" in cli.err


@pytest.mark.parametrize("text", ["", "\n", "---\n---\n", "# nothing\n", "null\n", "apiVersion: v1\nkind: List\n",
                                  "kind: List\nitems: []\n", "kind: List\nitems: null\n"])
def test_check_empty_file(cli: Cli, text: str) -> None:
    (cli.folder / "pod.yaml").write_text(text)
    if text == "apiVersion: v1\nkind: List\n":  # no items: a resource of a kind named List
        assert cli("pod.yaml") == 4
    else:
        assert cli("pod.yaml") == 2
        assert "pod.yaml: got 'no resource', expected at least one resource" in cli.err or "only empty Lists" in cli.err


def test_folders_are_read_and_summed_up(cli: Cli) -> None:
    cli.write("deploy/a.yaml", pod("a"), pod("b", privileged=True))
    cli.write("deploy/sub/c.yml", pod("c"))
    cli.write("deploy/values.yaml", {"replicas": 3})
    assert cli("deploy") == 3
    assert cli.out.splitlines()[-1] == "3 resources: 2 allowed, 1 denied, 0 not judged"
    assert "deploy/values.yaml[0]: passed over, it has no kind" in cli.err
    (cli.folder / "empty").mkdir()
    assert cli("empty") == 2
    assert "empty: no resource in this folder" in cli.err
    # What cannot be read in a folder is an error, not a resource less.
    (cli.folder / "deploy" / "broken.yaml").write_text("a: [")
    assert cli("deploy") == 2
    assert "deploy/broken.yaml: got" in cli.err


def test_standard_input(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def give(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    give(yaml.safe_dump_all([pod(), pod("bad", privileged=True)]))
    assert cli("-") == 3
    assert cli.out.splitlines()[-1] == "2 resources: 1 allowed, 1 denied, 0 not judged"
    give("")
    assert cli("-") == 2
    assert "standard input: got 'no resource'" in cli.err


@pytest.mark.parametrize("target", ["./pod", "manifests/", "../x/pod", "/tmp/no-such-pod", "deploy/web", "web.yaml",
                                    "Pod Name"])
def test_a_path_taken_for_an_image_is_an_error(cli: Cli, target: str) -> None:
    (cli.folder / "deploy").mkdir()
    assert cli(target) == 2
    assert "no such file" in cli.err.lower()
    assert "denied" not in cli.out


def test_check_image_noise_labels(cli: Cli) -> None:
    labels = policy("labels", validate={"message": "label", "pattern": {"metadata": {"labels": {"app": "?*"}}}})
    pulls = policy("pulls", validate={"message": "pull", "pattern": {
        "spec": {"containers": [{"imagePullPolicy": "Always"}]}}})
    assert cli("docker.io/library/nginx:1.2", policies=(labels, pulls)) == 4
    assert "- labels/r  it speaks of the pod, and only an image was given" in cli.out
    assert "- pulls/r  it speaks of the pod, and only an image was given" in cli.out
    registries = policy("registries", validate={"message": "registry", "pattern": {
        "spec": {"containers": [{"image": "ghcr.io/*"}]}}})
    assert cli("docker.io/library/nginx:1.2", policies=(labels, registries)) == 3
    assert "✗ registries/r" in cli.out
    assert "labels/r" not in cli.out
    conditions = policy("tags", validate={"message": "tag", "deny": {"conditions": {"any": [
        {"key": "{{ images.containers.*.tag }}", "operator": "AnyIn", "value": ["latest"]}]}}})
    assert cli("ghcr.io/a/b:latest", policies=(labels, conditions)) == 3


# ── a value that could not be had ───────────────────────────────────────────────────────────────────────────────────

REGISTRIES = policy("registries", validate={"message": "no: {{ images.containers.*.registry }}", "deny": {
    "conditions": {"any": [{"key": "{{ images.containers.*.registry }}", "operator": "AnyNotIn",
                            "value": ["ghcr.io"]}]}}})
TAGS = policy("tags", validate={"message": "no latest", "deny": {"conditions": {"any": [
    {"key": "{{ (images.containers || `{}`).*.tag }}", "operator": "AnyIn", "value": ["latest"]}]}}})
PRECONDITION = policy("first", preconditions={"all": [
    {"key": "{{ contains(images.containers.*.registry, 'evil.example') }}", "operator": "Equals", "value": True}]},
    validate={"message": "foreign", "pattern": {"metadata": {"labels": {"approved": "yes"}}}})


@pytest.mark.parametrize("junk", ["ghcr.io/myorg/Junk:1", "x.io:99999/a:1", "a..b/x", " ", "ghcr.io/a:b:c",
                                  "x@sha256:1"])
@pytest.mark.parametrize("rule", [REGISTRIES, TAGS, PRECONDITION])
def test_unparseable_image_left_out_of_images(cli: Cli, junk: str, rule: dict[str, Any]) -> None:
    document = pod(image="evil.example/x:latest")
    document["spec"]["containers"].append({"name": "junk", "image": junk})
    assert cli(cli.write("pod.yaml", document), policies=(rule,)) == 3
    assert "the images of Pod/shop/web: /spec/containers/1/image: got" in cli.out
    assert "✗" in cli.out


def test_an_image_of_another_digest_algorithm_is_an_image(cli: Cli) -> None:
    name = f"evil.example/x@sha384:{'a' * 96}"
    assert cli(cli.write("pod.yaml", pod(image=name)), policies=(REGISTRIES,)) == 3
    assert 'no: ["evil.example"]' in cli.out


def test_an_image_that_is_no_text_is_not_passed_over(cli: Cli) -> None:
    document = pod()
    document["spec"]["containers"][0]["image"] = {"reference": "evil.example/x"}
    assert cli(cli.write("pod.yaml", document), policies=(REGISTRIES,)) == 3
    assert "expected the name of an image" in cli.out


# ── where it would go, and what it is ───────────────────────────────────────────────────────────────────────────────

def in_namespace(namespace: str, *kinds: str) -> dict[str, Any]:
    found = policy("there", validate={"message": "not there", "pattern": {"spec": {"containers": [
        {"image": "ghcr.io/*"}]}}})
    found["spec"]["rules"][0]["match"]["any"][0]["resources"] = {"kinds": [*kinds], "namespaces": [namespace]}
    return found


def test_an_image_goes_into_the_namespace_that_is_named(cli: Cli) -> None:
    rules = (in_namespace("prod", "Pod"), in_namespace("default", "Pod"))
    assert cli("quay.io/x/y:1", "--namespace", "prod", policies=rules[:1]) == 3
    assert "not there" in cli.out
    assert cli("quay.io/x/y:1", "--namespace", "prod", policies=rules[1:]) == 4
    assert "its match does not select this request" in cli.out


def test_what_is_of_the_whole_cluster_is_in_no_namespace(cli: Cli) -> None:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"}}
    cli.write("r.yaml", role, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prod"}})
    rule = {"message": "in {{ request.namespace || 'none' }}", "deny": {}}
    except_default = policy("all", kinds=("*",), validate=rule)
    except_default["spec"]["rules"][0]["exclude"] = {"any": [{"resources": {"namespaces": ["default"]}}]}
    assert cli("r.yaml", policies=(except_default,)) == 3
    assert "2 denied" in cli.out
    assert "in none" in cli.out
    assert "in prod" in cli.out  # as the API server asks about Namespaces


@pytest.mark.parametrize(("document", "reason"), [
    ({"kind": "Pod", "spec": {}}, "pod.yaml[0]: apiVersion: got 'nothing'"),
    ({"kind": "Pod", "apiVersion": ""}, "apiVersion: got"), ({"kind": "Pod", "apiVersion": 1}, "apiVersion: got 1"),
    ({"kind": "List", "items": [{"kind": "Pod"}]}, "pod.yaml[0].items[0]: apiVersion: got 'nothing'"),
    ({"kind": "List", "items": 5}, "pod.yaml[0]: items: got a number, expected a list"),
    ({"kind": "List", "items": False}, "pod.yaml[0]: items: got a boolean, expected a list"),
    ({"kind": "PodList", "apiVersion": "v1", "items": {"a": pod()}}, "items: got a map, expected a list"),
])
def test_a_document_that_is_no_resource_beside_a_good_one(cli: Cli, document: Any, reason: str) -> None:
    cli.write("pod.yaml", document, pod())
    assert cli("pod.yaml") == 2
    assert reason in cli.err


def test_nothing_in_a_folder_is_passed_over_silently(cli: Cli) -> None:
    cli.write("away/bad.yaml", pod("linked", privileged=True))
    cli.write("all/good.yaml", pod())
    (cli.folder / "all" / "linked").symlink_to("../away")
    (cli.folder / "all" / "linked" / "back").symlink_to("../all")  # and does not go round for ever
    (cli.folder / "all" / "empty.yaml").write_text("")
    assert cli("all") == 3
    assert "Pod/shop/linked: denied" in cli.out
    assert "empty.yaml: passed over" in cli.err
    cli.write("upper/BAD.YAML", pod("upper", privileged=True))
    assert cli("upper") == 3
    (cli.folder / "all" / "gone.yaml").symlink_to("nowhere.yaml")
    assert cli("all") == 2
    assert "gone.yaml: No such file" in cli.err


def test_a_policy_folder_without_policies_is_an_error(cli: Cli) -> None:
    (cli.folder / "none").mkdir()
    cli.write("pod.yaml", pod())
    assert cli("pod.yaml", "--policy", "none") == 2
    assert "none: no policies" in cli.err


@pytest.mark.parametrize(("kinds", "code"), [(("P?d",), 4), (("v1/Pod",), 4), (("*",), 4), (("Pod/exec",), 0)])
def test_a_rule_about_pods_by_any_spelling_leaves_a_template_unjudged(cli: Cli, kinds: tuple[str, ...],
                                                                      code: int) -> None:
    labels = policy("labels", kinds=("Deployment",), validate={"message": "m", "pattern": {"kind": "Deployment"}})
    pods = policy("pods", kinds=kinds)
    pods["spec"]["rules"][0]["exclude"] = {"any": [{"resources": {"kinds": ["Deployment"]}}]}
    cli.write("d.yaml", template("Deployment"))
    assert cli("d.yaml", policies=(labels, pods)) == code
    assert ("do not see the pod template at /spec/template/spec" in cli.err) == (code == 4)


@pytest.mark.parametrize(("validate", "code"), [
    ({"pattern": {"spec": {"template": {"=(metadata)": {"=(labels)": {"=(app)": "?*"}}}}}}, 4),
    ({"deny": {"conditions": {"any": [{"key": "{{ request.object.spec.template.metadata.name || '' }}",
                                       "operator": "Equals", "value": "x"}]}}}, 4),
    ({"pattern": {"spec": {"template": {"spec": {"=(hostNetwork)": "false"}}}}}, 0),
    ({"deny": {"conditions": {"any": [{"key": "{{ request.object.spec.template.spec.hostNetwork || `false` }}",
                                       "operator": "Equals", "value": True}]}}}, 0),
])
def test_a_rule_about_the_templates_labels_does_not_judge_its_containers(cli: Cli, validate: dict[str, Any],
                                                                         code: int) -> None:
    cli.write("d.yaml", template("Deployment"))
    rules = (policy("deep", kinds=("Deployment",), validate={"message": "m", **validate}), policy("unprivileged"))
    assert cli("d.yaml", policies=rules) == code
    assert ("do not see the pod template at /spec/template/spec" in cli.err) == (code == 4)


def test_who_asks_is_said(cli: Cli) -> None:
    rule = {"validate": {"message": "not you.", "deny": {"conditions": {"any": [
        {"key": "{{ request.userInfo.username || 'nobody' }}", "operator": "AnyNotIn", "value": ["ann"]}]}}}}
    only = (policy("ann", **rule),)
    cli.write("pod.yaml", pod())
    assert cli("pod.yaml", "--user", "ann", policies=only) == 0
    assert cli("pod.yaml", "--user", "eve", policies=only) == 3
    assert "not you." in cli.out
    excluded = policy("admins")
    excluded["spec"]["rules"][0]["exclude"] = {"any": [{"subjects": [{"kind": "Group", "name": "admins"}]}]}
    cli.write("bad.yaml", pod(privileged=True))
    assert cli("bad.yaml", "--user", "ann", "--group", "dev", policies=(excluded,)) == 3
    assert cli("bad.yaml", "--user", "ann", "--group", "dev", "--group", "admins", "--allow-unjudged",
               policies=(excluded,)) == 0


def test_an_operation_is_said(cli: Cli) -> None:
    kept = policy("kept", validate={"message": "image is kept.", "deny": {"conditions": {"any": [
        {"key": "{{ request.operation }}", "operator": "Equals", "value": "DELETE"},
        {"key": "{{ request.oldObject.spec.containers[0].image || '' }}", "operator": "AnyIn", "value": ["old"]}]}}})
    cli.write("pod.yaml", pod())
    cli.write("now/pod.yaml", pod("else"), pod(image="old"))
    cli.write("other.yaml", pod("other"))
    assert cli("pod.yaml", policies=(kept,)) == 0
    assert cli("pod.yaml", "--operation", "DELETE", policies=(kept,)) == 3
    assert cli("pod.yaml", "--old", "now", policies=(kept,)) == 3
    assert cli("pod.yaml", "--old", "pod.yaml", policies=(kept,)) == 0
    assert cli("other.yaml", "--old", "now", policies=(kept,)) == 2
    assert "--old: got no Pod/shop/other, expected it as it is now" in cli.err


@pytest.mark.parametrize(("options", "words"), [
    (("--operation", "UPDATE"), "--operation UPDATE: got no --old"),
    (("--operation", "DELETE", "--old", "pod.yaml"), "--old: got it beside --operation DELETE"),
    (("--namespace-labels", "a"), "--namespace-labels: got 'a', expected KEY=VALUE"),
    (("--namespace-labels", "a=1,a=2"), "each key once"),
    (("--background", "--user", "ann"), "nobody asks for what lies in a cluster"),
    (("--operation", "CONNECT"), "'CONNECT' is not one of"),
], ids=str)
def test_what_cannot_be_asked(cli: Cli, options: tuple[str, ...], words: str) -> None:
    cli.write("pod.yaml", pod())
    assert cli("pod.yaml", *options) == 2
    assert words in cli.err


def test_labels_of_namespaces_are_said(cli: Cli) -> None:
    chosen = policy("chosen")
    chosen["spec"]["rules"][0]["match"]["any"][0]["resources"]["namespaceSelector"] = {"matchLabels": {"tier": "prod"}}
    cli.write("bad.yaml", pod(privileged=True))
    assert cli("bad.yaml", policies=(chosen,)) == 3  # nobody knows the labels: an error under Enforce
    assert "there is no cluster to ask" in cli.out
    assert cli("bad.yaml", "--namespace-labels", "tier=prod,team=a", policies=(chosen,)) == 3
    assert "there is no cluster to ask" not in cli.out
    assert cli("bad.yaml", "--namespace-labels", "tier=dev", "--allow-unjudged", policies=(chosen,)) == 0


def test_an_exception_counts_once_it_is_signed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    key = generate_key()
    cli.write("bad.yaml", pod(privileged=True))
    (cli.folder / "key.pem").write_bytes(encrypt_key(key, b""))
    (cli.folder / "key.pub").write_bytes(key.public.pem)
    exception = {"apiVersion": "kyverno.io/v2", "kind": "PolicyException", "metadata": {
        "name": "later", "namespace": "security",
        "annotations": {"policies.custody.internal/exception-ticket": "SEC-1"}}, "spec": {
        "exceptions": [{"policyName": "unprivileged", "ruleNames": ["r"]}],
        "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}}}
    cli.write("exception.yaml", exception)
    monkeypatch.setenv("CUSTODY_EXCEPTIONS", "security")
    monkeypatch.setenv("CUSTODY_EXCEPTION_KEYS", "key.pub")
    monkeypatch.setattr("custody.cli.trust_options.ask", lambda _: b"")
    assert cli("bad.yaml", "--policy", "exception.yaml", "--allow-unjudged") == 3
    assert "PolicyException later is not signed (setting `exception_keys`)" in cli.err
    assert run(["policy", "sign", "exception.yaml", "--key", "key.pem"]) == 0
    (cli.folder / "signed.yaml").write_text(cli.capsys.readouterr().out)
    assert cli("bad.yaml", "--policy", "signed.yaml", "--allow-unjudged") == 0
    assert "SEC-1" in cli.out
    assert run(["policy", "sign", "bad.yaml", "--key", "key.pem"]) == 2
    assert "bad.yaml: got Pod, expected a PolicyException" in cli.capsys.readouterr().err
    monkeypatch.setenv("CUSTODY_EXCEPTION_KEYS", "bad.yaml")
    assert cli("bad.yaml") == 2
