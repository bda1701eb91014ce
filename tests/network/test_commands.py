"""`custody netpol` as people type it: what stdout and stderr get, exit codes, misspelt names, hostile documents."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from custody.network.matrix import Connection
from custody.network.picture import MOST, draw
from custody.network.ports import ALL, typed
from tests.cli.commands import custody

PODS = """\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: shop}}
---
apiVersion: v1
kind: Namespace
metadata: {name: ops}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [
  {name: web, ports: [{name: http, containerPort: 8080}]}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db, namespace: shop}
spec: {template: {metadata: {labels: {app: db}}, spec: {containers: [
  {name: db, ports: [{name: postgres, containerPort: 5432}]}]}}}
---
apiVersion: v1
kind: Pod
metadata: {name: agent, namespace: ops, labels: {app: agent}}
spec: {containers: [{name: agent}]}
status: {podIP: 10.0.0.9}
"""
DENY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: shop}
spec: {podSelector: {}, policyTypes: [Ingress]}
"""
DB = """\
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: postgres}]}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pods.yaml").write_text(PODS)
    (tmp_path / "policies.yaml").write_text(DENY + DB)
    (tmp_path / "deny.yaml").write_text(DENY)
    return tmp_path


def test_check(folder: Path) -> None:
    done = custody("netpol", "check", "pods.yaml", "policies.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^shop/db +1 +isolated +open +NetworkPolicy shop/db, NetworkPolicy shop/deny$", done.stdout,
        re.MULTILINE)
    assert "warning: namespace ops: no policy selects any pod of it [no-policy]" in done.stdout
    assert done.stderr == "3 pods, 2 policies: 3 warnings\n"
    assert custody("netpol", "check", ".", "--fail-on", "error", cwd=folder).returncode == 2, "deny stands twice"
    assert custody("netpol", "check", "pods.yaml", "policies.yaml", "--fail-on", "error", cwd=folder).returncode == 0
    failed = custody("netpol", "check", "pods.yaml", "policies.yaml", "--fail-on", "warning", cwd=folder)
    assert (failed.returncode, "3 findings of level warning" in failed.stderr) == (3, True)
    told = json.loads(custody("netpol", "check", "pods.yaml", "policies.yaml", "-o", "json", cwd=folder).stdout)
    assert told["workloads"][0] == {"namespace": "ops", "name": "agent", "pods": 1, "ingress": "open", "egress": "open",
                                    "policies": []}
    sarif = json.loads(custody("netpol", "check", "pods.yaml", "policies.yaml", "-o", "sarif", cwd=folder).stdout)
    assert {result["ruleId"] for result in sarif["runs"][0]["results"]} == {"no-policy", "metadata-reachable"}


def test_connectivity(folder: Path) -> None:
    done = custody("netpol", "connectivity", "pods.yaml", "policies.yaml", "--to", "shop/", cwd=folder)
    assert (done.returncode, done.stdout) == (0, "FROM      TO       PORTS     DEPENDS\nshop/web  shop/db  5432/TCP\n")
    told = json.loads(custody("netpol", "connectivity", "pods.yaml", "policies.yaml", "-o", "json", "--port", "53/UDP",
                              cwd=folder).stdout)
    assert {"from": {"workload": "shop/web"}, "to": {"addresses": ["0.0.0.0/0", "::/0"]},
            "allowed": [{"protocol": "UDP", "first": 53, "last": 53}], "depends": []} in told["connections"]
    assert not [row for row in told["connections"] if row["to"] == {"workload": "shop/db"}]
    nobody = custody("netpol", "connectivity", "pods.yaml", "deny.yaml", "--from", "agent", "--to", "shop/db",
        cwd=folder)
    assert nobody.stdout == "nobody can reach anybody\n"
    assert custody("netpol", "connectivity", "pods.yaml", "-o", "svg=picture.svg", cwd=folder).returncode == 0
    assert ElementTree.fromstring((folder / "picture.svg").read_text()).tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (("--from", "shop/web", "--to", "shop/db", "--port", "postgres"), 0, "shop/web → shop/db 5432/TCP: allowed"),
    (("--from", "shop/web", "--to", "shop/db", "--port", "5432/UDP"), 3, "5432/UDP: denied"),
    (("--from", "10.0.0.9", "--to", "shop/db", "--port", "5432"), 3, "ops/agent → shop/db 5432/TCP: denied"),
    (("--from", "192.0.2.1", "--to", "shop/db", "--port", "5432"), 3, "192.0.2.1 → shop/db 5432/TCP: denied"),
    (("--from", "shop/db", "--to", "192.0.2.1", "--port", "443"), 0, "no policy selects it"),
    (("--from", "shop/web", "--to", "shop/web", "--port", "80"), 4, "to itself"),
])
def test_explain(folder: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = custody("netpol", "explain", "pods.yaml", "policies.yaml", *arguments, cwd=folder)
    assert (done.returncode, words in done.stdout) == (code, True), done.stdout + done.stderr
    told = json.loads(custody("netpol", "explain", "pods.yaml", "policies.yaml", *arguments, "-o", "json",
                              cwd=folder).stdout)
    assert told["connections"][0]["verdict"] == {0: "allowed", 3: "denied", 4: "depends"}[code]


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (("explain", "pods.yaml", "--from", "shop/wbe", "--to", "shop/db", "--port", "1"), 2, "did you mean shop/web?"),
    (("explain", "pods.yaml", "--from", "shop/web", "--to", "shop/db", "--port", "http"), 2,
      "name of a port of shop/db"),
    (("explain", "pods.yaml", "--from", "shop/web", "--to", "shop/db", "--port", "1-2"), 2, "a single port"),
    (("explain", "pods.yaml", "--from", "192.0.2.1", "--to", "192.0.2.2", "--port", "1"), 2, "addresses of no pods"),
    (("explain", "pods.yaml", "--from", "1.2.3.4.5", "--to", "shop/db", "--port", "1"), 2, "--from"),
    (("connectivity", "pods.yaml", "--port", "70000"), 2, "from 1 to 65535"),
    (("connectivity", "pods.yaml", "--from", "192.0.2.1"), 2, "address of no pod"),
    (("check", "policies.yaml"), 4, "no pods"), (("check",), 2, "no TARGET"),
    (("check", "absent.yaml"), 2, "absent.yaml"), (("diff", "pods.yaml"), 2, "expected OLD and NEW"),
    (("diff", "-", "-"), 2, "read once"), (("connectivity", "pods.yaml", "-o", "png"), 2, "png"),
])
def test_what_is_asked_wrong(folder: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = custody("netpol", *arguments, cwd=folder)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert words in done.stderr


def test_diff(folder: Path) -> None:
    done = custody("netpol", "diff", "deny.yaml", "policies.yaml", "--pods", "pods.yaml", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "1 connection differs\n")
    assert re.search(r"^\+ +shop/web +shop/db +5432/TCP +ingress: NetworkPolicy shop/db allows it: spec.ingress\[0\] "
                     r"\(before: no rule allows it: isolated by NetworkPolicy shop/deny\)$", done.stdout, re.MULTILINE)
    assert custody("netpol", "diff", "deny.yaml", "policies.yaml", "--pods", "pods.yaml", "--exit-code",
                   cwd=folder).returncode == 3
    same = custody("netpol", "diff", "policies.yaml", "policies.yaml", "--pods", "pods.yaml", "--exit-code", cwd=folder)
    assert (same.returncode, same.stdout) == (0, "no connection differs\n")
    told = json.loads(custody("netpol", "diff", "policies.yaml", "deny.yaml", "--pods", "pods.yaml", "-o", "json",
                              cwd=folder).stdout)
    assert told["changes"][0]["vanished"] == [{"protocol": "TCP", "first": 5432, "last": 5432}]


def test_standard_input_and_lists(folder: Path) -> None:
    documents = {"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": []}} for name in "ab"]}
    done = custody("netpol", "explain", "-", "--from", "a", "--to", "b", "--port", "1", cwd=folder,
                   given=json.dumps(documents))
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "default/a → default/b 1/TCP: allowed")


@pytest.mark.parametrize("text", [
    DENY.replace("podSelector", "podSelektor"), DENY.replace("Ingress", "Ingres"), DENY + "---\n" + DENY,
    DENY.replace("podSelector: {}", "podSelector: {matchLabels: [a]}"), DENY.replace("{podSelector: {}",
        "{ingress: {}"),
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}\nspec: " + "[" * 5000,
    DENY.replace("networking.k8s.io/v1", "networking.k8s.io/v2"), DENY.replace("metadata:", "metadata: 1 #")])
def test_broken_documents_are_refused_by_their_place(folder: Path, text: str) -> None:
    (folder / "broken.yaml").write_text(text)
    done = custody("netpol", "check", "pods.yaml", "broken.yaml", cwd=folder)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "broken.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_names_move_no_cursor_and_add_no_lines(folder: Path) -> None:
    hostile = "a\u001b[2Jb\nerror: c"
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": hostile, "namespace": "n\r<script>"},
                "spec": {"containers": []}}
    (folder / "hostile.json").write_text(json.dumps(document))
    for arguments in (("check",), ("connectivity",), ("explain", "--from", "192.0.2.1", "--to",
            f"n\r<script>/{hostile}",
                                                      "--port", "1")):
        done = custody("netpol", arguments[0], "hostile.json", *arguments[1:], cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "\u001b" not in done.stdout + done.stderr
        assert "\nerror: c" not in done.stdout
    picture = custody("netpol", "connectivity", "hostile.json", "-o", "svg", cwd=folder).stdout
    assert "<script>" not in picture
    ElementTree.fromstring(picture)


def test_a_hundred_thousand_rules(folder: Path) -> None:
    rules = [{"from": [{"ipBlock": {"cidr": f"10.{at >> 16}.{at >> 8 & 255}.{at & 255}/32"}}]} for at in range(100_000)]
    for name, part in (("first", rules[:50_000]), ("second", rules[50_000:])):
        (folder / f"{name}.json").write_text(json.dumps({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name,
                "namespace": "shop"},
            "spec": {"podSelector": {}, "ingress": part}}))
    done = custody("netpol", "explain", "pods.yaml", "first.json", "second.json", "--from", "10.1.134.159", "--to",
        "shop/db",
                   "--port", "1", cwd=folder)
    assert (done.returncode, "shop/second allows it: spec.ingress[49999]" in done.stdout) == (0, True), done.stderr
    assert custody("netpol", "connectivity", "pods.yaml", "first.json", cwd=folder).returncode == 0


def test_a_picture_is_the_same_each_time_and_bounded() -> None:
    names = [f"n{at % 7}/w{at}" for at in range(MOST)]
    connections = [Connection(names[at], names[(at * 7) % MOST], typed("80"), ALL - ALL) for at in range(MOST)]
    assert draw(names, connections) == draw(list(reversed(names)), list(reversed(connections)))
    by_namespace = draw([*names, "n8/more"], connections)
    assert ">n8<" in by_namespace
    assert "w5" not in by_namespace
    many = draw([f"n{at}/w" for at in range(3 * MOST)], [])
    assert f"and {2 * MOST} more that are not drawn" in many
    assert len(many) < 200_000
