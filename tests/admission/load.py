"""Load on a real API server: clients that create pods with dryRun=All on kept connections, and keep each answer."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml


class Answer(NamedTuple):
    began: float
    """time.monotonic() at which the request was sent."""
    ended: float
    labels: str
    """Which of the pods it was."""
    status: int
    """0: the API server itself did not answer."""
    message: str


class ApiServer:
    """Where and as whom a kubeconfig with embedded certificates asks."""

    def __init__(self, kubeconfig: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        self.address = urlsplit(cluster["server"])
        folder = kubeconfig.parent
        for name, text in (("load.crt", user["client-certificate-data"]), ("load.key", user["client-key-data"])):
            (folder / name).write_bytes(base64.b64decode(text))
        self.context = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        self.context.load_cert_chain(folder / "load.crt", folder / "load.key")

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(str(self.address.hostname), self.address.port, context=self.context,
                                           timeout=60)


def pod(label: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "x-", "namespace": "default",
                                                            "labels": {"which": label}},
            "spec": {"containers": [{"name": "c", "image": "registry.example.com/a:1"}]}}


@contextlib.contextmanager
def load(server: ApiServer, labels: list[str], *, rate: float = 50.0, clients: int = 5) -> Iterator[list[Answer]]:
    """`rate` requests a second meanwhile, the pods in turn. The list grows; it is whole after the block."""
    answers: list[Answer] = []
    stop = threading.Event()

    def work(number: int) -> None:
        connection, turn, due = server.connect(), number, time.monotonic()
        while not stop.is_set():
            label = labels[turn % len(labels)]
            turn += 1
            began = time.monotonic()
            try:
                connection.request("POST", "/api/v1/namespaces/default/pods?dryRun=All", json.dumps(pod(label)),
                                   {"Content-Type": "application/json"})
                response = connection.getresponse()
                body = json.loads(response.read())
                answers.append(Answer(began, time.monotonic(), label, response.status, str(body.get("message", ""))))
            except (OSError, http.client.HTTPException, ValueError) as error:
                connection.close()
                answers.append(Answer(began, time.monotonic(), label, 0, repr(error)))
            due += clients / rate
            time.sleep(max(0.0, due - time.monotonic()))
        connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()
