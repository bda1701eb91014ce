"""Changes that no policy may want, whatever its engine let through: they are made by custody's own account."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from custody.policy.model import Change
from custody.policy.resources import ApiResource
from custody.services.controllers.changes import Carrier, ChangeError

_RESOURCES = {
    "ConfigMap": ApiResource(group="", version="v1", kind="ConfigMap", plural="configmaps", namespaced=True),
    "ClusterRoleBinding": ApiResource(group="rbac.authorization.k8s.io", version="v1", kind="ClusterRoleBinding",
                                      plural="clusterrolebindings", namespaced=False),
    "Thing": ApiResource(group="a.example", version="v1", kind="Thing", plural="things", namespaced=False)}


class _Cluster:
    """Has every object that it is asked for, and keeps what is written."""

    def __init__(self) -> None:
        self.written: list[tuple[str, Any]] = []

    async def resource(self, api_version: str, kind: str, *, refresh: bool = False) -> ApiResource | None:
        return _RESOURCES.get(kind)

    async def get(self, resource: ApiResource, name: str, namespace: str = "", *, subresource: str = "") -> Any:
        return {"apiVersion": "v1", "kind": resource.kind, "metadata": {
            "name": name, "namespace": namespace, "resourceVersion": "1", "uid": "u"}}

    async def replace(self, resource: ApiResource, document: Any, *, dry_run: bool = False,
                      subresource: str = "") -> Any:
        self.written.append(("replace", document))
        return document

    async def apply(self, resource: ApiResource, document: Any, **_: Any) -> Any:
        self.written.append(("apply", document))
        return document

    async def delete(self, resource: ApiResource, name: str, namespace: str = "", **_: Any) -> bool:
        self.written.append(("delete", name))
        return True


def carry_out(cluster: _Cluster, *changes: Change) -> None:
    asyncio.run(Carrier(cluster).carry_out(changes))  # type: ignore[arg-type]


def _named(kind: str, namespace: str, name: str = "x", **fields: Any) -> dict[str, Any]:
    version = {"ConfigMap": "v1", "Thing": "a.example/v1"}.get(kind, "rbac.authorization.k8s.io/v1")
    return {"apiVersion": version, "kind": kind, "metadata": {
        "name": name, **({"namespace": namespace} if namespace else {})}, **fields}


@pytest.mark.parametrize("verb", ["apply", "patch", "delete"])
@pytest.mark.parametrize(("kind", "namespace"), [
    ("ConfigMap", "kube-system"), ("ConfigMap", ""), ("ClusterRoleBinding", "team"), ("ClusterRoleBinding", ""),
    ("Thing", "team")])
def test_a_policy_of_a_namespace_touches_nothing_outside_of_it(verb: str, kind: str, namespace: str) -> None:
    cluster = _Cluster()
    document = _named(kind, namespace, data={"a": "b"})
    change = Change(policy="team/p", rule="r", verb=verb, object=document, before=_named(kind, namespace))
    with pytest.raises(ChangeError, match="expected an object of namespace team") as refused:
        carry_out(cluster, change)
    assert refused.value.lasting
    assert cluster.written == []


def test_it_touches_its_own_and_other_policies_touch_all() -> None:
    cluster = _Cluster()
    changes = [Change(policy=policy, rule="r", verb="apply", object=_named(kind, namespace, data={"a": "b"}))
               for policy, kind, namespace in (("team/p", "ConfigMap", "team"), ("p", "ConfigMap", "team"),
                                               ("p", "ClusterRoleBinding", ""), ("p", "Thing", ""))]
    carry_out(cluster, *changes)
    assert len(cluster.written) == 4


@pytest.mark.parametrize("after", [_named("ConfigMap", "b"), _named("ConfigMap", "a", "y"), _named("Thing", "a")])
def test_a_patch_makes_no_other_object_of_its_target(after: dict[str, Any]) -> None:
    cluster = _Cluster()
    change = Change(policy="p", rule="r", verb="patch", object=after, before=_named("ConfigMap", "a"))
    with pytest.raises(ChangeError, match="expected a patch that leaves kind, namespace and name"):
        carry_out(cluster, change)
    assert cluster.written == []
