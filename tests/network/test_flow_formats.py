"""Flow logs of five recorders: what each line says, and what is said of a line that says nothing."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError, MalformedError, UnsupportedError, UsageError
from custody.formats.flows import awsvpc, calico, conntrack, gcpvpc, hubble, lines, recognition
from custody.formats.flows.record import REPLY, UNCLEAR, Flow, Kind, Passed, Side, Verdict
from tests.network import flowlines


def flow(said: Flow | Passed) -> Flow:
    assert isinstance(said, Flow), said
    return said


def told(data: bytes, **more: object) -> list[recognition.Told]:
    return list(recognition.read([data], "flows.log", **more))  # type: ignore[arg-type]


# Hubble

def test_hubble_a_packet_that_began_a_connection() -> None:
    said = flow(hubble.read(flowlines.hubble()))
    assert said == Flow(
        source=Side(address="10.0.1.1", namespace="shop", pod="web-9b649846d-bxqfc", workload="Deployment/web",
                    labels=("app=web", "pod-template-hash=9b649846d"), kind=Kind.POD),
        destination=Side(address="10.0.2.1", namespace="shop", pod="api-65887564dc-jjw7k", labels=("app=api",),
                         kind=Kind.POD),
        protocol="TCP", port=8080, verdict=Verdict.ALLOWED, first=1795171262, last=1795171262, observer="source",
        answered=False)


def test_hubble_a_pod_of_another_cluster_is_none_of_this_one() -> None:
    said = flow(hubble.read(flowlines.hubble(destination__cluster_name="two")))
    assert (said.source.kind, said.destination.kind, said.destination.namespace) == (Kind.POD, Kind.ELSEWHERE, "")


@pytest.mark.parametrize(("flags", "answered"), [
    ({"SYN": True}, False), ({"ACK": True}, True), ({"ACK": True, "FIN": True}, True), ({}, None),
    ({"RST": True, "ACK": True}, None)])
def test_hubble_the_client_acknowledges_what_it_was_answered(flags: dict[str, bool], answered: bool | None) -> None:
    assert flow(hubble.read(flowlines.hubble(l4__TCP__flags=flags))).answered is answered


def test_hubble_without_the_response_around_it() -> None:
    inner = json.dumps(json.loads(flowlines.hubble())["flow"]).encode()
    assert flow(hubble.read(inner)) == flow(hubble.read(flowlines.hubble()))


@pytest.mark.parametrize(("changes", "expected"), [
    ({"is_reply": True}, REPLY),
    ({"is_reply": ..., "l4": {"TCP": {"source_port": 8080, "destination_port": 60000,
                                      "flags": {"SYN": True, "ACK": True}}}}, REPLY),
    ({"is_reply": ..., "l4": {"UDP": {"source_port": 53, "destination_port": 60000}}}, REPLY),
    ({"is_reply": ..., "l4": {"UDP": {"source_port": 5000, "destination_port": 5001}}}, UNCLEAR),
    ({"is_reply": ..., "l4": {"UDP": {"source_port": 50000, "destination_port": 50001}}}, UNCLEAR)])
def test_hubble_replies(changes: dict[str, object], expected: Passed) -> None:
    assert hubble.read(flowlines.hubble(**changes)) == expected


def test_hubble_who_began_it_by_the_ports_is_called_a_guess() -> None:
    packet = {"TCP": {"source_port": 60000, "destination_port": 8080, "flags": {"ACK": True}}}
    assert flow(hubble.read(flowlines.hubble(is_reply=..., l4=packet))).guessed
    assert not flow(hubble.read(flowlines.hubble(is_reply=...))).guessed


@pytest.mark.parametrize(("changes", "verdict"), [
    ({"verdict": "REDIRECTED"}, Verdict.ALLOWED), ({"verdict": "AUDIT"}, Verdict.ALLOWED), ({"verdict": 1},
                                                                                           Verdict.ALLOWED),
    ({"verdict": "DROPPED", "drop_reason_desc": "POLICY_DENIED"}, Verdict.DENIED),
    ({"verdict": "DROPPED", "drop_reason": 181}, Verdict.DENIED), ({"verdict": 2, "drop_reason": 133},
                                                                   Verdict.DENIED)])
def test_hubble_verdicts(changes: dict[str, object], verdict: Verdict) -> None:
    assert flow(hubble.read(flowlines.hubble(**changes))).verdict is verdict


@pytest.mark.parametrize(("changes", "words"), [
    ({"verdict": "DROPPED", "drop_reason_desc": "INVALID_SOURCE_MAC"}, "another reason than a policy"),
    ({"verdict": "TRANSLATED"}, "without a verdict"), ({"verdict": "ERROR"}, "without a verdict"),
    ({"l4": {}}, "neither TCP"), ({"l4": ...}, "neither TCP")])
def test_hubble_events_that_are_no_connection(changes: dict[str, object], words: str) -> None:
    said = hubble.read(flowlines.hubble(**changes))
    assert isinstance(said, Passed)
    assert words in said.reason


def test_hubble_says_what_it_lost() -> None:
    said = hubble.read(b'{"lost_events":{"source":"PERF_EVENT_RING_BUFFER","num_events_lost":"123"},"time":"x"}')
    assert isinstance(said, Passed)
    assert said.lost == 123


def test_hubble_nodes_and_the_world_are_no_pods() -> None:
    said = flow(hubble.read(flowlines.hubble(
        source={"identity": 1, "labels": ["reserved:host", "reserved:remote-node"]},
        destination={"identity": 2, "labels": ["reserved:world"]}, destination_names=["example.com"])))
    assert (said.source.kind, said.destination.kind, said.destination.names) == (
        Kind.NODE, Kind.OUTSIDE, ("example.com",))


@pytest.mark.parametrize(("changes", "words"), [
    ({"l4__TCP__destination_port": 65536}, "65535"), ({"IP__source": "10.0.0.256"}, "10.0.0.256"),
    ({"time": "yesterday"}, "yesterday"), ({"verdict": "PERHAPS"}, "PERHAPS"), ({"source": 7}, "source")])
def test_hubble_a_field_that_is_wrong_is_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(MalformedError) as raised:
        hubble.read(flowlines.hubble(**changes))
    assert words in raised.value.message


# Calico

def test_calico_names_that_were_aggregated() -> None:
    said = flow(calico.read(flowlines.calico()))
    assert said.source == Side(namespace="shop", prefix="web-755cdc7957-", kind=Kind.POD,
                               labels=("app=web", "pod-template-hash=755cdc7957"))
    assert (said.port, said.count, said.first, said.last, said.observer) == (
        8080, 7, 1763634000, 1763634300, "destination")


def test_calico_names_that_were_not() -> None:
    said = flow(calico.read(flowlines.calico(dest_name="db-0", dest_name_aggr="db-*", dest_ip="10.0.2.1",
                                             action="deny")))
    assert (said.destination.pod, said.destination.prefix, said.destination.address) == ("db-0", "", "10.0.2.1")
    assert said.verdict is Verdict.DENIED


def test_calico_what_is_outside() -> None:
    said = flow(calico.read(flowlines.calico(dest_type="net", dest_name_aggr="pub", dest_namespace="-",
                                             dest_ip="93.184.216.34", dest_labels=None)))
    assert said.destination == Side(address="93.184.216.34", kind=Kind.OUTSIDE)


def test_calico_of_elasticsearch() -> None:
    hit = b'{"_index":"tigera_secure_ee_flows","_source":' + flowlines.calico() + b"}"
    assert calico.read(hit) == calico.read(flowlines.calico())


@pytest.mark.parametrize(("changes", "words"), [
    ({"action": "perhaps"}, "action"), ({"reporter": ...}, "reporter"), ({"proto": "carrier pigeon"}, "proto"),
    ({"dest_port": 70000}, "65535"), ({"num_flows": -1}, "num_flows"), ({"dest_type": "moon"}, "moon"),
    ({"proto": "999"}, "protocol")])
def test_calico_a_field_that_is_wrong_is_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(MalformedError) as raised:
        calico.read(flowlines.calico(**changes))
    assert words in raised.value.message


@pytest.mark.parametrize("port", [0, None])
def test_calico_a_port_that_was_aggregated_away_is_no_port(port: int | None) -> None:
    said = calico.read(flowlines.calico(dest_port=port))
    assert isinstance(said, Passed)
    assert "port" in said.reason


# conntrack

def test_conntrack_the_pod_behind_the_service_is_the_destination() -> None:
    said = flow(conntrack.read(flowlines.ESTABLISHED))
    assert (said.source.address, said.destination.address, said.protocol, said.port, said.verdict, said.count) == (
        "10.0.1.1", "10.0.2.1", "TCP", 8080, Verdict.ALLOWED, 1)


def test_conntrack_datagrams_need_no_answer_and_connections_do() -> None:
    assert flow(conntrack.read(flowlines.DATAGRAM)).verdict is Verdict.ALLOWED
    said = flow(conntrack.read(flowlines.SYN_SENT))
    assert (said.verdict, said.last, said.count, said.port) == (Verdict.UNANSWERED, 1796070742, 0, 81)


def test_conntrack_of_the_kernel_itself_writes_addresses_in_full() -> None:
    said = flow(conntrack.read(flowlines.PROC_SIX))
    assert (said.source.address, said.destination.address, said.port) == ("fd00::1", "fd00::2", 443)


def test_conntrack_events_of_one_connection_count_once() -> None:
    tuples = flowlines.ESTABLISHED.partition(b"src=")[2]
    events = [b"    [NEW] tcp      6 120 SYN_SENT src=" + tuples.replace(b"[ASSURED]", b"[UNREPLIED]"),
              b" [UPDATE] tcp      6 60 SYN_RECV src=" + tuples.replace(b"[ASSURED] ", b""),
              b" [UPDATE] tcp      6 432000 ESTABLISHED src=" + tuples,
              b" [UPDATE] tcp      6 120 FIN_WAIT src=" + tuples, b"[DESTROY] tcp      6 src=" + tuples]
    said = [flow(conntrack.read(event)) for event in events]
    assert [record.count for record in said] == [0, 0, 1, 0, 0]
    assert [record.verdict for record in said] == [*[Verdict.UNANSWERED] * 2, *[Verdict.ALLOWED] * 3]


def test_conntrack_a_connection_that_was_refused_was_not_answered() -> None:
    refused = flowlines.ESTABLISHED.replace(b"ESTABLISHED", b"CLOSE").replace(b"[ASSURED] ", b"")
    said = flow(conntrack.read(refused))
    assert (said.verdict, said.answered) == (Verdict.UNANSWERED, False)


def test_conntrack_a_programs_name_is_no_field() -> None:
    hostile = flowlines.ESTABLISHED + b" progname=src=1.2.3.4 src=9.9.9.9 dst=8.8.8.8 sport=1 dport=2"
    assert flow(conntrack.read(hostile)).destination.address == "10.0.2.1"


@pytest.mark.parametrize("line", [
    b"tcp      6 99 ESTABLISHED src=10.0.1.1 dst=10.0.0.2 sport=1 dport=2", b"tcp six 99", b"[12.5 tcp 6 1",
    flowlines.ESTABLISHED.replace(b"sport=8080", b"sport=99999"), flowlines.ESTABLISHED.replace(b"10.0.2.1", b"::g")])
def test_conntrack_broken_lines(line: bytes) -> None:
    with pytest.raises(MalformedError):
        conntrack.read(line)


# AWS

def test_aws_the_default_format() -> None:
    said = flow(awsvpc.reader()(flowlines.AWS))
    assert (said.source.address, said.destination.address, said.protocol, said.port, said.verdict, said.first,
            said.last, said.guessed) == ("10.0.1.1", "10.0.2.1", "TCP", 8080, Verdict.ALLOWED, 1763634000, 1763634060,
                                         True)


def test_aws_a_header_says_the_order_and_the_pods_addresses() -> None:
    data = (b"pkt-srcaddr pkt-dstaddr srcaddr dstaddr dstport srcport protocol tcp-flags action flow-direction "
            b"log-status\n10.0.1.1 - 10.9.9.9 10.0.2.1 8080 9000 6 2 REJECT ingress OK\n"
            b"10.0.2.1 - 10.9.9.9 10.0.1.1 9000 8080 6 19 ACCEPT ingress OK\n")
    assert recognition._recognised([(1, data.splitlines()[0])], "x") == awsvpc.NAME
    header, request, reply = (said for _, said in told(data))
    assert isinstance(header, Passed)
    assert isinstance(request, Flow)
    assert (request.source.address, request.destination.address, request.port, request.verdict, request.guessed,
            request.observer) == ("10.0.1.1", "10.0.2.1", 8080, Verdict.DENIED, False, "destination")
    assert reply == REPLY


@pytest.mark.parametrize(("line", "lost"), [
    (b"2 123456789010 eni-1235b8ca - - - - - - - 1431280876 1431280934 - NODATA", 0),
    (b"2 123456789010 eni-1235b8ca - - - - - - - 1431280876 1431280934 - SKIPDATA", 1)])
def test_aws_windows_without_records_are_told_apart(line: bytes, lost: int) -> None:
    said = awsvpc.reader()(line)
    assert isinstance(said, Passed)
    assert (said.lost, ("SKIPDATA" in said.reason)) == (lost, bool(lost))


def test_aws_of_cloudwatch_has_a_time_before_the_record() -> None:
    assert awsvpc.reader()(b"2026-11-20T10:41:02.000Z " + flowlines.AWS) == awsvpc.reader()(flowlines.AWS)
    assert isinstance(told(b"2026-11-20T10:41:02.000Z " + flowlines.AWS)[0][1], Flow)


def test_aws_a_custom_format_without_a_header_needs_its_fields() -> None:
    ((_, first),) = told(b"10.0.1.1 10.0.2.1 40000 8080 6 ACCEPT", form="aws-vpc")
    assert isinstance(first, MalformedError)
    assert first.hint
    assert "--fields" in first.hint
    ((_, second),) = told(b"10.0.1.1 10.0.2.1 40000 8080 6 ACCEPT", form="aws-vpc",
                     fields=("srcaddr", "dstaddr", "srcport", "dstport", "protocol", "action"))
    assert isinstance(second, Flow)
    with pytest.raises(UnsupportedError, match="without action"):
        told(b"x", form="aws-vpc", fields=("srcaddr", "dstaddr", "dstport", "protocol"))
    with pytest.raises(UsageError, match="--fields"):
        told(flowlines.hubble(), fields=("srcaddr",))


def test_aws_a_port_on_both_sides_says_nothing() -> None:
    assert awsvpc.reader()(flowlines.AWS.replace(b"40641", b"9000")) == UNCLEAR


# Google Cloud

def test_gcp_a_record_with_gkes_pods() -> None:
    said = flow(gcpvpc.read(flowlines.gcp()))
    assert said.source == Side(address="10.0.1.1", namespace="shop", pod="web-9b649846d-bxqfc", kind=Kind.POD,
                               workload="Deployment/web")
    assert (said.destination, said.port, said.observer, said.guessed) == (
        Side(address="10.0.2.1"), 8080, "source", True)
    payload = json.dumps(json.loads(flowlines.gcp())["jsonPayload"]).encode()
    assert gcpvpc.read(payload) == said


def test_gcp_replies_by_their_ports() -> None:
    assert gcpvpc.read(flowlines.gcp(connection__src_port=8080, connection__dest_port=40000)) == REPLY
    assert gcpvpc.read(flowlines.gcp(connection__src_port=8080, connection__dest_port=8081)) == UNCLEAR


# Files

@pytest.mark.parametrize(("line", "form"), [
    (flowlines.hubble(), "hubble"), (flowlines.calico(), "calico"), (flowlines.ESTABLISHED, "conntrack"),
    (flowlines.SYN_SENT, "conntrack"), (flowlines.AWS, "aws-vpc"), (flowlines.gcp(), "gcp-vpc")])
def test_recognised_by_content(line: bytes, form: str) -> None:
    ((number, alone),) = told(b"\n\n" + line + b"\r\n")
    assert number == 3
    assert isinstance(alone, Flow)
    assert told(line) == told(line, form=form)
    assert [*told(gzip.compress(line) + gzip.compress(b"\n" + line))][1][1] == alone
    assert told(b"nonsense\n" + line)[1][1] == alone


@pytest.mark.parametrize("data", [b"[\n  {\n", b'[{"flow":', b"{\n", b"PAR1....", b"BZh91AY", b"\x28\xb5\x2f\xfd",
                                  b"<?xml version='1.0'?>", b"hello\nworld\n"])
def test_what_no_format_is_is_refused(data: bytes) -> None:
    with pytest.raises(UnsupportedError):
        told(data)


def test_an_empty_file_is_no_flow_log() -> None:
    with pytest.raises(MalformedError, match="no line"):
        told(b"\n\n")


def test_a_line_that_cannot_be_read_is_told_by_its_number() -> None:
    entries = told(flowlines.hubble() + b"\n{\"flow\": {\n" + flowlines.hubble() + b"\n" + b"x" * (lines.MAX_LINE + 1)
                   + b"\n" + flowlines.hubble())
    assert [number for number, _ in entries] == [1, 2, 3, 4, 5]
    assert [isinstance(said, MalformedError) for _, said in entries] == [False, True, False, True, False]


def test_gzip_that_is_cut_or_broken_is_an_error() -> None:
    data = gzip.compress(flowlines.hubble())
    for broken in (data[:-4], data[:20] + b"\0\0\0\0" + data[24:], data + b"rubbish"):
        with pytest.raises(MalformedError):
            told(broken)
    assert len(told(data + b"\0" * 512)) == 1


def test_gzip_that_only_grows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_FREE", 4 << 20)
    engine = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(engine.compress(b"a" * (1 << 20)) for _ in range(16)) + engine.flush()
    with pytest.raises(MalformedError, match="grow"):
        told(bomb, form="hubble")


@given(st.lists(st.binary(max_size=30).filter(lambda part: b"\n" not in part), max_size=40), st.integers(1, 9),
       st.booleans())
def test_lines_are_those_of_the_file_however_it_comes(parts: list[bytes], size: int, packed: bool) -> None:
    data = b"x" * 10 + b"\n" + b"\n".join(parts)
    stream = gzip.compress(data) if packed else data
    pieces = [stream[at:at + size] for at in range(0, len(stream), size)]
    expected = [part.removesuffix(b"\r") for part in data.split(b"\n")]
    read = [content for _, content in lines.lines(pieces, "x")]
    assert read == (expected if data.split(b"\n")[-1] else expected[:-1])


@given(st.binary(max_size=300), st.sampled_from(recognition.FORMATS))
def test_any_bytes_are_a_flow_or_an_error(data: bytes, form: str) -> None:
    try:
        told(data, form=form)
    except CustodyError:
        return
