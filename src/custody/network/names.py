"""What people call the ends of a connection: `namespace/pod`, `namespace/workload`, `namespace/service`, an address."""

from __future__ import annotations

from collections.abc import Sequence

from custody.errors import MalformedError, UsageError
from custody.kit.near import near
from custody.network.addresses import number
from custody.network.judgement import End
from custody.network.model import Pod, Topology


def ends(word: str, topology: Topology, where: str) -> list[End]:
    """The pods that a name means, or the address. A name without a namespace is looked for in all.

    Raises UsageError where there is none such, with a name like it, and where a name means pods of several namespaces.
    """
    address = _address(word, where)
    if address is not None:
        return [End(pod, address) for pod in topology.pods if address in pod.addresses] or [End(None, address)]
    pods = named(word, topology, where)
    return [End(pod) for pod in pods]


def _address(word: str, where: str) -> int | None:
    if not word.replace(".", "").replace(":", "").replace("%", "").isalnum() or not (
            ":" in word or (word.count(".") == 3 and word.replace(".", "").isdecimal())):
        return None
    return number(word, where)


def named(word: str, topology: Topology, where: str) -> list[Pod]:
    """The pods of a pod's, workload's, service's or, with a slash at its end, namespace's name."""
    namespace, slash, name = word.rpartition("/")
    if word.endswith("/"):
        pods = [pod for pod in topology.pods if pod.namespace == namespace]
        if not pods:
            raise _unknown(word, [f"{pod.namespace}/" for pod in topology.pods], where, "a namespace that has pods")
        return pods
    inside = [pod for pod in topology.pods if not slash or pod.namespace == namespace]
    pods = [pod for pod in inside if pod.name == name] or [
        pod for pod in inside if pod.workload is not None and pod.workload.name == name] or _of_service(
            topology, namespace if slash else None, name)
    if not pods:
        known = [pod.place for pod in topology.pods] + [pod.shown for pod in topology.pods] + [
            f"{service.namespace}/{service.name}" for service in topology.services]
        raise _unknown(word, known if slash else [*known, *(place.partition("/")[2] for place in known)], where,
                       "a pod, workload or service that is there, as NAMESPACE/NAME, or an address")
    spaces = sorted({pod.namespace for pod in pods})
    if len(spaces) > 1:
        raise UsageError(f"{where}: {word} is in several namespaces: {', '.join(spaces[:5])}",
                         hint=f"{spaces[0]}/{name} means one of them")
    return pods


def _of_service(topology: Topology, namespace: str | None, name: str) -> list[Pod]:
    services = [service for service in topology.services
                if service.name == name and namespace in (None, service.namespace)]
    return [pod for pod in topology.pods for service in services
            if pod.namespace == service.namespace and service.selector
            and all(pod.labels.get(key) == value for key, value in service.selector.items())]


def _unknown(word: str, known: Sequence[str], where: str, expected: str) -> MalformedError:
    return MalformedError(where, got=word, expected=expected, hint=near(word, known))
