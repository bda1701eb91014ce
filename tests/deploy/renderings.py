"""Values that people install with: what each is about, and what it says."""

from __future__ import annotations

from typing import Any

POLICY = """apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata:
  name: label
spec:
  validationFailureAction: Enforce
  rules:
    - name: label
      match: {any: [{resources: {kinds: [Pod]}}]}
      validate: {message: "no", pattern: {metadata: {labels: {which: "!bad"}}}}
"""
RULES = """- rule: Shell in a container
  desc: a shell
  condition: evt.type = execve and container.id != host and proc.name = sh
  output: shell %proc.cmdline %k8s.pod.name
  priority: WARNING
"""
RESPONSES = """- rule: cut
  match: {rules: [Shell in a container]}
  actions: [{action: cut, actionner: "custody:quarantine"}]
"""
EVERYTHING: dict[str, Any] = {
    "namespace": {"create": True},
    "image": {"repository": "registry.example.com/custody", "digest": f"sha256:{'a' * 64}", "pullSecrets": ["pull"]},
    "replicas": 5, "log": {"level": "debug"},
    "settings": {"keep_decisions": 2, "keep_evidence": 2.5, "plain_http": ["one.example:5000"], "offline": False,
                 "mirrors": {"ghcr.io/myorg": "127.0.0.1:5080/myorg"}, "policy_hosts": ["a.example"]},
    "exceptions": {"namespaces": ["security", "audit"]}, "policies": {"inline": {"label.yaml": POLICY}},
    "exclude": ["kube-system", "kube-public"], "reports": "openreports", "withdraw": True,
    "violationExport": {"enabled": True, "connection": "found", "channel": "audits"},
    "extraVolumes": [{"name": "violations", "emptyDir": {"sizeLimit": "1Gi"}}],
    "extraVolumeMounts": [{"name": "violations", "mountPath": "/violations"}],
    "extraContainers": [{
        "name": "reader", "image": "registry.example.com/reader:1",
        "volumeMounts": [{"name": "violations", "mountPath": "/violations"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}],
    "whenDown": "withdraw", "whenDownAfter": 90,
    "certificates": {"certManager": {"enabled": True}},
    "trustedRoot": {"configMap": "trust", "key": "root.json"}, "registries": {"secret": "pull"},
    "data": {"persistent": True, "size": "5Gi", "storageClass": "fast"},
    "rbac": {"aggregate": True, "extraRules": [{
        "apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch", "delete"]}]},
    "networkPolicy": {"egressPorts": [443], "metricsFrom": [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]},
    "podDisruptionBudget": {"maxUnavailable": "40%"}, "priorityClassName": "system-cluster-critical",
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "nodeSelector": {"kubernetes.io/os": "linux"}, "tolerations": [{"key": "a", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 1, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": {
            "matchLabels": {"app.kubernetes.io/name": "custody"}}}}]}},
    "runtime": {"enabled": True, "replicas": 2, "rules": {"shell.yaml": RULES}, "tlsSecret": "events-tls",
                "tokenSecret": "events-token", "drift": True, "responses": {"cut.yaml": RESPONSES}, "respond": True,
                "settings": {"outputs": ["stdout", "https://falcosidekick.example/"], "priority": "notice"},
                "nodes": True, "extraRules": [{
                    "apiGroups": ["cilium.io"], "resources": ["ciliumnetworkpolicies"], "verbs": ["create", "patch"]}]},
    "podAnnotations": {"a.example/b": "c: d"}, "podLabels": {"team": "platform"}}
VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": EVERYTHING,
    "minimal": {"replicas": 1, "reports": "none", "exclude": [], "rbac": {"view": False}, "resources": {},
                "networkPolicy": {"enabled": False}, "podDisruptionBudget": {"enabled": False},
                "topologySpread": {"enabled": False}},
    "an issuer of yours": {"certificates": {"secret": "custody-cert", "certManager": {
        "enabled": True, "issuer": {"name": "company", "kind": "ClusterIssuer"}}}},
    "a certificate of yours": {"certificates": {"secret": "custody-cert"}, "policies": {"configMap": "policies"}},
    "a watch that only tells": {"runtime": {"enabled": True, "rules": {"shell.yaml": RULES}, "tlsSecret": "events-tls",
                                            "tokenSecret": "events-token"}},
    "no egress but DNS": {"networkPolicy": {"egressPorts": []}, "image": {"tag": "1.2"}}}
