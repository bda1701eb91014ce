"""What somebody does who is in the pod already, or nearly: each is seen by who watches what runs."""

from __future__ import annotations

from typing import Any

from custody.demo.story import Chain
from custody.demo.watched import Network, RunningPod, host_file
from custody.demo.world import World
from custody.errors import CustodyError
from custody.network.judgement import Verdict

Found = tuple[str, str]
"""The rule that spoke, and its words."""
_DROPPED = "/var/spool/miner"


async def shell(world: World, chain: Chain) -> Found:
    """One that was brought along: the shop's image has none."""
    pod = RunningPod(world, chain.image)
    shell, sha256 = host_file("/bin/sh", "/usr/bin/sh")
    return _alerted(await pod.alert("Shell in a container", lambda: pod.execute(f"{shell} -i", sha256, path="/bin/sh")),
                    chain)


async def foreign_binary(world: World, chain: Chain) -> Found:
    """A real program, under a name that says nothing."""
    pod = RunningPod(world, chain.image)
    _, sha256 = host_file("/usr/bin/env", "/bin/env")
    return _alerted(await pod.alert("Executable not in its image",
                                    lambda: pod.execute(f"{_DROPPED} --pool", sha256, path=_DROPPED)), chain)


async def forbidden_connection(world: World, chain: Chain) -> Found:
    """To an address that no policy of the shop allows, and that its image never asked for."""
    address, port = "203.0.113.66", 443
    judged = Network().between(address, port)
    if judged.verdict is not Verdict.DENIED or judged.egress is None:
        raise CustodyError(f"demo: the shop may reach {address}")
    pod = RunningPod(world, chain.image)
    alert = await pod.told("Connection outside of the image's baseline", lambda: pod.connect(address, port))
    reason = alert["output_fields"]["custody.drift.reason"]
    return "NetworkPolicy default/shop", (
        f"{address}:{port}: {judged.egress.reason}; alert: {alert['rule']}: {reason}")


async def exec_by_api(world: World, chain: Chain) -> Found:
    """Nothing starts on a node that this demonstration has: the API server's own record of it is what is told."""
    pod = RunningPod(world, chain.image)
    return _alerted(await pod.told("Exec into a pod", lambda: pod.exec_by_api("mallory@myorg.example", ["sh"])))


def _alerted(alert: dict[str, Any], chain: Chain | None = None) -> Found:
    """The alert's own words, and whose image it is."""
    fields, reason = alert["output_fields"], alert["output"].partition(f"{alert['priority']} ")[2]
    if chain is None or chain.built is None:
        return f"alert: {alert['rule']}", reason
    if fields.get("custody.source.commit") != chain.commit:
        raise CustodyError(f"demo: the alert says commit {fields.get('custody.source.commit')}, not {chain.commit}")
    return f"alert: {alert['rule']}", (f"{reason} (built of commit {chain.commit[:12]} by "
                                       f"{fields['custody.builder']}, signed by {fields['custody.signer']})")
