"""A replica as a rendering says it: its account's token, its arguments, its settings and files, beside an API server
that has no kubelet. Only where the API server finds it, and where /data and /etc/custody are, is another."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.replica import Cluster, Replica
from tests.deploy.conftest import of_kind

ACCOUNT = "system:serviceaccount:custody:custody"


def account(cluster: Cluster, folder: Path, name: str = "custody") -> Cluster:
    """kubectl, and a replica, as a ServiceAccount of the chart."""
    config: dict[str, Any] = yaml.safe_load(cluster.kubeconfig.read_text())
    token = cluster.do("-n", "custody", "create", "token", name, "--duration=1h").strip()
    config["users"][0]["user"] = {"token": token}
    file = folder / "kubeconfig"
    file.write_text(json.dumps(config))
    return Cluster(file)


def mounted(documents: list[dict[str, Any]], folder: Path) -> dict[str, Path]:
    """The ConfigMaps' files where the pod would have them: path in the pod → here. As a kubelet writes them, behind
    links."""
    pod = of_kind(documents, "Deployment", "StatefulSet")["spec"]["template"]["spec"]
    maps = {document["metadata"]["name"]: document["data"] for document in documents if document["kind"] == "ConfigMap"}
    places: dict[str, Path] = {}
    for mount in pod["containers"][0]["volumeMounts"]:
        place = folder / mount["mountPath"].strip("/").replace("/", "-")
        places[mount["mountPath"]] = place
        volume = next((volume for volume in pod["volumes"] if volume["name"] == mount["name"]), {})
        if "configMap" not in volume:
            place.mkdir(exist_ok=True)
            continue
        files = maps[volume["configMap"]["name"]]
        if "subPath" in mount:
            place.write_text(files[mount["subPath"]])
            continue
        (place / "..2026").mkdir(parents=True)
        (place / "..data").symlink_to("..2026")
        for name, text in files.items():
            (place / "..2026" / name).write_text(text)
            (place / name).symlink_to(f"..data/{name}")
    return places


def replica(documents: list[dict[str, Any]], cluster: Cluster, folder: Path, monkeypatch: pytest.MonkeyPatch,
            *arguments: str) -> Replica:
    """Not started. `cluster` is as whom it speaks."""
    folder.mkdir(exist_ok=True)
    places = mounted(documents, folder)
    container = of_kind(documents, "Deployment", "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    given = []
    for argument in container["args"][2:]:
        name, _, value = argument.partition("=")
        if name != "--port":
            given.append(f"{name}={places[value]}" if value in places else argument)
    settings = places["/etc/custody/custody.toml"]
    settings.write_text(settings.read_text().replace('"/data"', json.dumps(str(places["/data"]))))
    for variable in [name for name in os.environ if name.startswith("CUSTODY_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("CUSTODY_CONFIG", str(settings))
    return Replica(folder / "data", cluster, *given, *arguments)
