"""What the chart renders to: as Helm does it, taken by an API server, restricted as Pod Security says."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import yaml

from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Request
from custody.settings import Settings, load_settings
from tests.apiserver import PEERS
from tests.conftest import ROOT
from tests.deploy.conftest import CHART, Server, of_kind
from tests.deploy.generated import texts
from tests.deploy.renderings import EVERYTHING, RESPONSES, VALUES
from tests.deploy.template import TemplateError, merged

FOLDER = ROOT / "deploy" / "helm" / "custody"
SCHEMA = jsonschema_rs.validator_for(json.loads((FOLDER / "values.schema.json").read_text()))
RESTRICTED = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "restricted"}, "spec": {
    "validationFailureAction": "Enforce", "rules": [{"name": "restricted", "match": {"any": [{"resources": {
        "kinds": ["Pod", "Deployment", "StatefulSet"]}}]}, "validate": {"podSecurity": {"level": "restricted",
                                                                                       "version": "latest"}}}]}}


@pytest.mark.parametrize("name", VALUES)
def test_it_renders_as_helm_does(name: str, tmp_path: Path) -> None:
    helm = shutil.which("helm", path=f"{PEERS}:/usr/local/bin:/usr/bin")
    if helm is None:
        pytest.skip("helm is not installed")
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(VALUES[name]))
    command = [helm, "template", "custody", str(FOLDER), "--namespace", "custody", "--kube-version", "1.34.0"]
    done = subprocess.run([*command, "--values", str(tmp_path / "values.yaml")], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    rendered = [document for document in yaml.safe_load_all(done.stdout) if document]
    assert _sorted(rendered) == _sorted(CHART.documents(VALUES[name]))


def _sorted(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(documents, key=lambda document: (document["kind"], document["metadata"]["name"]))


@pytest.mark.peer
@pytest.mark.parametrize("name", VALUES)
def test_an_api_server_takes_it(server: Server, name: str) -> None:
    server.cluster.do("apply", "--server-side", "-f", "-", given={
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "custody"}})
    documents = CHART.documents(VALUES[name])
    done = server.cluster("apply", "--server-side", "--validate=strict", "--dry-run=server", "-f", "-", given=documents)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(documents)
    assert "Warning" not in done.stderr


@pytest.mark.parametrize("name", VALUES)
def test_its_pods_are_restricted(name: str) -> None:
    document = of_kind(CHART.documents(VALUES[name]), "Deployment", "StatefulSet")
    policies = PolicySet([RESTRICTED])
    assert _allowed(policies, document)
    container = document["spec"]["template"]["spec"]["containers"][0]
    container["securityContext"]["capabilities"]["add"] = ["NET_ADMIN"]
    assert not _allowed(policies, document), "the policy judges it"


def _allowed(policies: PolicySet, document: dict[str, Any]) -> bool:
    return decide(Request.create(document), {}, policies, Context(now=datetime(2026, 11, 29, tzinfo=UTC))).allowed


@pytest.mark.parametrize("name", VALUES)
def test_its_settings_are_read(name: str, tmp_path: Path) -> None:
    documents = [document for document in CHART.documents(VALUES[name]) if document["kind"] == "ConfigMap"]
    text = next(document["data"]["custody.toml"] for document in documents if "custody.toml" in document["data"])
    (tmp_path / "custody.toml").write_text(text)
    settings = load_settings(tmp_path / "custody.toml", {})
    assert (settings.data_dir, settings.drain) == ("/data", 5)
    if name == "everything":
        assert (settings.keep_evidence, settings.keep_decisions, settings.plain_http, settings.mirrors) == (
            2.5, 2, ["one.example:5000"], {"ghcr.io/myorg": "127.0.0.1:5080/myorg"})
        assert settings.exceptions == ["security", "audit"]
        assert settings.trusted_root == "/etc/custody/trust/root.json"


@pytest.mark.parametrize("name", VALUES)
def test_the_command_takes_its_arguments(name: str) -> None:
    from custody.cli.admission_run import run

    container = of_kind(CHART.documents(VALUES[name]), "Deployment", "StatefulSet")["spec"]["template"]["spec"][
        "containers"][0]
    assert container["args"][:2] == ["admission", "run"]
    given = run.make_context("run", list(container["args"][2:])).params
    assert (given["namespace"], given["port"], given["reports"]) == (
        "custody", 8080, VALUES[name].get("reports", "policyreports"))
    assert "custody" in given["exclude"]
    said = VALUES[name].get("violationExport") or CHART.values["violationExport"]
    assert (given["export"], given["audit_connection"], given["audit_channel"]) == (
        said["enabled"], said["connection"], said["channel"])


def test_the_guard_is_restricted_and_its_command_takes_its_arguments() -> None:
    from custody.cli.admission_guard import guard

    assert not [document for document in CHART.documents() if "guard" in document["metadata"]["name"]]
    document = of_kind(CHART.documents(EVERYTHING), "Deployment", component="guard")
    assert _allowed(PolicySet([RESTRICTED]), document)
    pod = document["spec"]["template"]
    assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == "guard", "the Service does not send it reviews"
    args = pod["spec"]["containers"][0]["args"]
    assert args[:2] == ["admission", "guard"]
    given = guard.make_context("guard", list(args[2:])).params
    assert (given["namespace"], given["after"], given["port"]) == ("custody", 90, 8080)


RUNTIME = [name for name, values in VALUES.items() if "runtime" in values]


@pytest.mark.parametrize("name", RUNTIME)
def test_the_watch_is_restricted_and_its_settings_and_files_are_read(name: str, tmp_path: Path) -> None:
    from custody.server.access.exposure import check_exposure
    from custody.services.watchspec import Watched

    documents = CHART.documents(VALUES[name])
    document = of_kind(documents, "StatefulSet", component="runtime")
    assert _allowed(PolicySet([RESTRICTED]), document)
    pod = document["spec"]["template"]
    assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == "runtime", "no reviews are sent to it"
    (container,) = pod["spec"]["containers"]
    assert container["args"][:2] == ["serve", "--roles=runtime"]
    files = {listed["metadata"]["name"]: listed["data"] for listed in documents
             if listed["kind"] == "ConfigMap"}
    (tmp_path / "custody.toml").write_text(files["custody-runtime"]["custody.toml"])
    settings = load_settings(tmp_path / "custody.toml", {})
    stated = settings.runtime
    assert stated is not None
    assert check_exposure(settings, ["runtime"], "0.0.0.0") == []
    assert Watched.of(stated).rules == (Path("/etc/custody/rules"),)
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    said = VALUES[name]["runtime"]
    assert {str(Path(path).parent) for path in (stated.token or "", *stated.responses)} <= mounts
    assert {"/etc/custody/tls", "/etc/custody/rules"} <= mounts
    assert list(files["custody-runtime-rules"]) == list(said["rules"])
    assert stated.respond is said.get("respond", False)
    assert stated.respond_lease == ("custody/custody-runtime" if said.get("responses") else None)
    assert pod["spec"]["automountServiceAccountToken"] is bool(said.get("responses") or said.get("drift"))


def test_the_watch_may_do_what_it_is_asked_to_and_nothing_else() -> None:
    def rights(**more: Any) -> set[tuple[str, str]]:
        said = {**VALUES["a watch that only tells"]["runtime"], **more}
        return {(resource, verb) for document in CHART.documents({"runtime": said})
                if document["kind"] in ("Role", "ClusterRole")
                and document["metadata"]["labels"]["app.kubernetes.io/component"] == "runtime"
                for rule in document["rules"] for resource in rule["resources"] for verb in rule["verbs"]}

    assert rights() == set()
    assert rights(drift=True) == {("pods", "list"), ("services", "list")}
    responding = rights(responses={"r.yaml": RESPONSES})
    assert {("pods", "get"), ("pods", "patch"), ("pods", "delete"), ("networkpolicies", "create"),
            ("events", "create"), ("leases", "create"), ("leases", "update")} <= responding
    assert not {right for right in responding if right[0] in ("secrets", "configmaps", "deployments")}
    assert ("nodes", "patch") not in responding
    assert ("nodes", "patch") in rights(responses={"r.yaml": RESPONSES}, nodes=True)


@pytest.mark.parametrize("key", ["rules", "tlsSecret", "tokenSecret"])
def test_a_watch_without_what_it_needs_is_refused(key: str) -> None:
    said = {name: value for name, value in VALUES["a watch that only tells"]["runtime"].items() if name != key}
    with pytest.raises(TemplateError, match=f"runtime.{key}: got none"):
        CHART.documents({"runtime": said})
    with pytest.raises(TemplateError, match=r"got no runtime\.responses"):
        CHART.documents({"runtime": {**VALUES["a watch that only tells"]["runtime"], "respond": True}})


@pytest.mark.parametrize("name", VALUES)
def test_the_schema_takes_what_people_say(name: str) -> None:
    SCHEMA.validate(merged(CHART.values, VALUES[name]))


@pytest.mark.parametrize(("values", "where"), [
    ({"replica": 3}, "replica"), ({"replicas": 0}, "replicas"), ({"image": {"digest": "latest"}}, "digest"),
    ({"settings": {"data_dir": "/"}}, "data_dir"), ({"reports": "all"}, "reports"),
    ({"policies": {"inline": {"a": ""}}}, "a"), ({"exclude": ["Not_a_name"]}, "Not_a_name"),
    ({"log": {"level": "loud"}}, "loud"), ({"whenDown": "ignore"}, "ignore"), ({"whenDownAfter": 5}, "5"),
    ({"rbac": {"views": True}}, "views"), ({"violationExport": {"channel": "a/b"}}, "a/b"),
    ({"violationExport": {"path": "/v"}}, "path"), ({"extraVolumes": [{"name": "data", "emptyDir": {}}]}, "data"),
    ({"runtime": {"rules": {"a": "x"}}}, "a"), ({"runtime": {"settings": {"sensors": ["ebpf"]}}}, "sensors"),
    ({"runtime": {"replicas": 0}}, "replicas"), ({"runtime": {"enable": True}}, "enable"),
    ({"extraVolumes": [{"emptyDir": {}}]}, "name"), ({"extraVolumeMounts": [{"name": "v"}]}, "mountPath"),
    ({"extraVolumeMounts": [{"name": "v", "mountPath": "/etc/custody/trust"}]}, "/etc/custody/trust"),
    ({"extraVolumeMounts": [{"name": "v", "mountPath": "/v/../data"}]}, "/v/../data"),
    ({"extraContainers": [{"name": "custody", "image": "x"}]}, "custody")])
def test_the_schema_refuses_what_nobody_would_obey(values: dict[str, Any], where: str) -> None:
    with pytest.raises(jsonschema_rs.ValidationError, match=where):
        SCHEMA.validate(merged(CHART.values, values))


def test_no_policies_from_two_places() -> None:
    with pytest.raises(TemplateError, match="got inline and configMap"):
        CHART.documents({"policies": {"inline": {"a.yaml": "a"}, "configMap": "b"}})


def test_settings_that_the_chart_says_itself_are_settings() -> None:
    values = json.loads((FOLDER / "values.schema.json").read_text())["properties"]
    own = set(values["settings"]["propertyNames"]["not"]["enum"])
    assert own <= {field.name for field in msgspec.structs.fields(Settings)}


def test_everything_says_each_value() -> None:
    """So that what is looked at here is all there is."""
    def paths(values: dict[str, Any], before: str = "") -> set[str]:
        return {path for key, value in values.items() for path in (
            paths(value, f"{before}{key}.") if isinstance(value, dict) and value else {before + key})}

    said = {path for values in VALUES.values() for path in paths(values)}
    unsaid = {path for path in paths(CHART.values) if not any(
        path == other or path.startswith(f"{other}.") or other.startswith(f"{path}.") for other in said)}
    assert unsaid <= {"log.format", "drain", "image.pullPolicy", "topologySpread.keys", "serviceMonitor.interval",
                      "resources.requests.cpu", "resources.requests.memory", "resources.limits.memory"}
    assert EVERYTHING["namespace"]["create"]


@pytest.mark.parametrize("path", texts(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_is_written_from_the_chart_is_as_it_says(path: Path) -> None:
    assert path.read_text() == texts()[path], "python -m tests.deploy.generated"


def test_the_chart_is_of_this_version() -> None:
    import custody

    assert CHART.about["version"] == CHART.about["appVersion"] == custody.__version__
