"""Lines of flow logs, in the forms in which the real recorders wrote them, with parts to change."""

from __future__ import annotations

import copy
import json
from typing import Any

_HUBBLE: dict[str, Any] = {
    "flow": {
        "time": "2026-11-20T10:41:02.202450754Z", "uuid": "cd75b2ac-8dd3-486b-beca-3d17d9d56cff",
        "verdict": "FORWARDED", "ethernet": {"source": "62:6b:d0:a4:c5:63", "destination": "6e:d0:ea:78:fc:0a"},
        "IP": {"source": "10.0.1.1", "destination": "10.0.2.1", "ipVersion": "IPv4"},
        "l4": {"TCP": {"source_port": 60524, "destination_port": 8080, "flags": {"SYN": True}}},
        "source": {"ID": 423, "identity": 24753, "cluster_name": "one", "namespace": "shop",
                   "labels": ["k8s:app=web", "k8s:pod-template-hash=9b649846d", "k8s:io.cilium.k8s.policy.cluster=one",
                              "k8s:io.kubernetes.pod.namespace=shop"],
                   "pod_name": "web-9b649846d-bxqfc", "workloads": [{"name": "web", "kind": "Deployment"}]},
        "destination": {"identity": 24075, "cluster_name": "one", "namespace": "shop", "labels": ["k8s:app=api"],
                        "pod_name": "api-65887564dc-jjw7k"},
        "Type": "L3_L4", "node_name": "one/w1", "event_type": {"type": 4, "sub_type": 3},
        "traffic_direction": "EGRESS", "trace_observation_point": "TO_STACK", "is_reply": False,
        "Summary": "TCP Flags: SYN"},
    "node_name": "one/w1", "time": "2026-11-20T10:41:02.202450754Z"}
_CALICO: dict[str, Any] = {
    "start_time": 1763634000, "end_time": 1763634300, "source_ip": None, "source_name": "-",
    "source_name_aggr": "web-755cdc7957-*", "source_namespace": "shop", "nat_outgoing_ports": None,
    "source_port": None, "source_type": "wep",
    "source_labels": {"labels": ["app=web", "pod-template-hash=755cdc7957"]}, "dest_ip": None, "dest_name": "-",
    "dest_name_aggr": "api-7d4899b484-*", "dest_namespace": "shop", "dest_port": 8080, "dest_type": "wep",
    "dest_labels": {"labels": ["app=api"]}, "dest_service_namespace": "shop", "dest_service_name": "api",
    "dest_domains": None, "proto": "tcp", "action": "allow", "reporter": "dst",
    "policies": {"all_policies": ["0|__PROFILE__|__PROFILE__.kns.shop|allow|0"]}, "bytes_in": 133612,
    "bytes_out": 196, "num_flows": 7, "num_flows_started": 7, "num_flows_completed": 7}
_GCP: dict[str, Any] = {
    "insertId": "1", "jsonPayload": {
        "connection": {"src_ip": "10.0.1.1", "src_port": 40000, "dest_ip": "10.0.2.1", "dest_port": 8080,
                       "protocol": 6},
        "reporter": "SRC", "bytes_sent": "1224", "packets_sent": "10", "start_time": "2026-11-20T10:41:02.2Z",
        "end_time": "2026-11-20T10:41:07Z",
        "src_gke_details": {"cluster": {"cluster_name": "one"}, "pod": {
            "pod_name": "web-9b649846d-bxqfc", "pod_namespace": "shop",
            "pod_workload": {"workload_name": "web", "workload_type": "DEPLOYMENT"}}}},
    "logName": "projects/p/logs/compute.googleapis.com%2Fvpc_flows"}
ESTABLISHED = (b"ipv4     2 tcp      6 99 ESTABLISHED src=10.0.1.1 dst=10.96.0.10 sport=40000 dport=80 src=10.0.2.1 "
               b"dst=10.0.1.1 sport=8080 dport=40000 [ASSURED] mark=0 use=1 id=1650927819")
DATAGRAM = (b"udp      17 99 src=10.0.1.1 dst=10.0.0.3 sport=40000 dport=53 [UNREPLIED] src=10.0.0.3 dst=10.0.1.1 "
            b"sport=53 dport=40000 mark=0 use=1")
SYN_SENT = (b"[1796070742.462079]\t    [NEW] tcp      6 100 SYN_SENT src=10.0.1.1 dst=10.0.0.4 sport=40001 dport=81 "
            b"[UNREPLIED] src=10.0.0.4 dst=10.0.1.1 sport=81 dport=40001 mark=0 [USERSPACE] portid=3 progname=x")
PROC_SIX = (b"ipv6     10 tcp      6 99 ESTABLISHED src=fd00:0000:0000:0000:0000:0000:0000:0001 "
            b"dst=fd00:0000:0000:0000:0000:0000:0000:0002 sport=40001 dport=443 "
            b"src=fd00:0000:0000:0000:0000:0000:0000:0002 dst=fd00:0000:0000:0000:0000:0000:0000:0001 sport=443 "
            b"dport=40001 [ASSURED] mark=0 zone=0 use=2")
AWS = (b"2 123456789010 eni-1235b8ca123456789 10.0.1.1 10.0.2.1 40641 8080 6 20 4249 1763634000 1763634060 "
       b"ACCEPT OK")


def _changed(document: dict[str, Any], changes: dict[str, Any]) -> bytes:
    document = copy.deepcopy(document)
    for path, value in changes.items():
        *folders, name = path.split("__")
        room = document
        for folder in folders:
            room = room[folder]
        if value is ...:
            del room[name]
        else:
            room[name] = value
    return json.dumps(document).encode()


def hubble(**changes: Any) -> bytes:
    """`source__pod_name="x"` changes a field of the flow, `...` takes it away."""
    return _changed(_HUBBLE, {f"flow__{path}": value for path, value in changes.items()})


def calico(**changes: Any) -> bytes:
    return _changed(_CALICO, changes)


def gcp(**changes: Any) -> bytes:
    return _changed(_GCP, {f"jsonPayload__{path}": value for path, value in changes.items()})
