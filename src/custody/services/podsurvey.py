"""A cluster's pods, and what makes them, read for a survey of Pod Security: whole, or with what could not be read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from custody.errors import CustodyError, UsageError
from custody.policy.podsecurity.configuration import Configuration
from custody.policy.podsecurity.survey import KINDS, Standing, Survey
from custody.policy.resources import ApiResource
from custody.ports.cluster import ApiError, ClusterObjects, Object

_NAMESPACES = ApiResource(version="v1", kind="Namespace", plural="namespaces")
_RESOURCES = [ApiResource(group=version.rpartition("/")[0], version=version.rpartition("/")[2], kind=kind,
                          plural=f"{kind.lower()}s", namespaced=True) for version, kind in KINDS]
_AT_ONCE = 8
_FORBIDDEN = 403


async def survey(cluster: ClusterObjects, configuration: Configuration, version: str, namespaces: Sequence[str] = (),
                 told: Callable[[int], None] | None = None) -> list[Standing]:
    """Of these namespaces, or of all. `version` is as `standard.evaluate` takes it; `told` is told of objects read.

    What is forbidden to be listed of the whole cluster is listed of each namespace. Raises UsageError for a namespace
    that is not there, and CustodyError where none can be had; what of one cannot be is in its Standing.
    """
    reading = _Reading(cluster, Survey(configuration, version), told)
    await reading.namespaces(namespaces)
    for resource in _RESOURCES:
        await reading.resource(resource, apart=bool(namespaces))
    return reading.survey.standings()


class _Reading:
    def __init__(self, cluster: ClusterObjects, survey_: Survey, told: Callable[[int], None] | None) -> None:
        self._cluster = cluster
        self.survey = survey_
        self._told = told or (lambda _: None)
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def namespaces(self, names: Sequence[str]) -> None:
        for name in dict.fromkeys(names):
            try:
                document = await self._cluster.get(_NAMESPACES, name)
            except ApiError as error:
                if error.answered != _FORBIDDEN:
                    raise
                self.survey.namespace(name, {})  # who may read its pods may not be told its labels
                self.survey.unread(name, "Namespace", error.words)
                continue
            if document is None:
                raise UsageError(f"--namespace: got {name}, expected a namespace of the cluster")
            self.survey.namespace(name, _labels(document))
        if not names:
            async for page in self._cluster.pages(_NAMESPACES, mixed=True):
                for document in page.items:
                    self.survey.namespace(str(document["metadata"]["name"]), _labels(document))

    async def resource(self, resource: ApiResource, *, apart: bool) -> None:
        if not apart:
            try:
                await self._pages(resource, "")
                return
            except ApiError as error:
                if error.answered != _FORBIDDEN:
                    self._unread(self.survey.namespaces, resource, error)
                    return
            except CustodyError as error:
                self._unread(self.survey.namespaces, resource, error)
                return
        await asyncio.gather(*(self._of_namespace(resource, name) for name in self.survey.namespaces))

    async def _of_namespace(self, resource: ApiResource, name: str) -> None:
        try:
            async with self._turns:
                await self._pages(resource, name)
        except CustodyError as error:
            self._unread([name], resource, error)

    async def _pages(self, resource: ApiResource, namespace: str) -> None:
        async for page in self._cluster.pages(resource, namespace, mixed=True):
            for document in page.items:
                try:
                    self.survey.add(document)
                except CustodyError as error:
                    metadata = document.get("metadata") or {}
                    self.survey.unread(str(metadata.get("namespace")), resource.kind,
                                       f"{metadata.get('name')}: {error.message}")
            self._told(len(page.items))

    def _unread(self, namespaces: Sequence[str], resource: ApiResource, error: CustodyError) -> None:
        for name in namespaces:
            self.survey.unread(name, resource.kind, error.words if isinstance(error, ApiError) else error.message)


def _labels(document: Object) -> dict[str, str]:
    labels = document["metadata"].get("labels")
    return {key: value for key, value in labels.items() if isinstance(value, str)} if isinstance(labels, dict) else {}
