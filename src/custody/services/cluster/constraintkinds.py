"""The kinds that templates make: a CustomResourceDefinition for each template in force, and none without one."""

from __future__ import annotations

import logging
from typing import Any

from custody.admission.definitions import BY_KIND
from custody.policy.gatekeeper.constraintkind import LABEL, definition
from custody.policy.resources import ApiResource
from custody.ports.cluster import ApiError, ClusterObjects, Object
from custody.services.cluster.policies import Collection
from custody.services.cluster.webhooks import covers
from custody.services.mirror import Mirror, key_of

_LOG = logging.getLogger(__name__)
_DEFINITIONS = ApiResource(group="apiextensions.k8s.io", version="v1", kind="CustomResourceDefinition",
                           plural="customresourcedefinitions", namespaced=False)
TEMPLATE = BY_KIND["templates.gatekeeper.sh", "ConstraintTemplate"]


class ConstraintKinds:
    """Written by the replica that leads. `faults`: by template, why its kind could not be made."""

    def __init__(self, cluster: ClusterObjects) -> None:
        self.faults: dict[str, str] = {}
        self._cluster = cluster
        self._written: dict[str, tuple[Object, Any]] = {}
        """What was written last, and the generation that the API server gave it: it may have put it otherwise."""

    async def keep(self, collection: Collection, there: Mirror) -> None:
        """`there` follows all definitions. Raises CustodyError where the API server gives no answer."""
        templates = {key_of(held.document)[1]: held for held in [*collection.held.values()]
                     if held.definition is TEMPLATE}
        faults: dict[str, str] = {}
        for name, held in templates.items():
            if held.judged is not None:
                try:
                    fault = await self._write(definition(held.judged), there)
                except ApiError as error:
                    fault = error.words
                if fault:
                    faults[name] = fault[:1024]
        self.faults = faults
        if not collection.whole:
            return  # a template that was not listed yet is not one that is gone
        for (_, name), known in [*there.objects.items()]:
            if _made(known) and name.partition(".")[0] not in templates:
                _LOG.info("%s is deleted with its constraints: its template is gone", name)
                await self._cluster.delete(_DEFINITIONS, name, uid=str(known["metadata"].get("uid") or ""))

    async def _write(self, document: Object, there: Mirror) -> str:
        """Why it could not be; "" where it is there. Raises ApiError."""
        name = document["metadata"]["name"]
        known = there.objects.get(("", name))
        if known is not None:
            if (known["metadata"].get("labels") or {}).get(LABEL) != "yes":
                return f"{name} is there, and of no template"
            if _is(known, document) or self._written.get(name) == (document, known["metadata"].get("generation")):
                return ""
            metadata = {**known["metadata"], **document["metadata"],
                        "labels": {**known["metadata"]["labels"], **document["metadata"]["labels"]}}
            made = await self._cluster.replace(_DEFINITIONS, {**document, "metadata": metadata})
        else:
            made = await self._cluster.create(_DEFINITIONS, document)
        self._written[name] = document, made["metadata"].get("generation")
        return ""


def _made(known: Object) -> bool:
    """Whether a template made it."""
    metadata = known["metadata"]
    return (metadata.get("labels") or {}).get(LABEL) == "yes" and any(
        owner.get("kind") == TEMPLATE.kind for owner in metadata.get("ownerReferences") or ())


def _is(known: Object, document: Object) -> bool:
    there, said = ([version.get("schema") for version in crd["spec"]["versions"]] for crd in (known, document))
    return there == said and covers(known, document)
