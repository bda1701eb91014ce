"""Events of clouds: each condition of the stock rules of these sources, with an event it is true of, and one not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policylang import falco
from policylang.falco.values import fields, jsonsources
from policylang.falco.values.jsonsources import SOURCES, reader, source_of, split
from policylang.falco.values.okta import MOST_ACTORS, OktaEvent, OktaHistory

_OK = "not ct.error exists"
_LOGIN = {"userIdentity": {"type": "AssumedRole"}, "responseElements": {"ConsoleLogin": "Success"}}
_NO_FACTOR = {"userIdentity": {"type": "IAMUser"}, "responseElements": {"ConsoleLogin": "Success"},
              "additionalEventData": {"MFAUsed": "No"}}
_OPENED = {"requestParameters": {"publicAccessBlock": "", "PublicAccessBlockConfiguration": {"BlockPublicAcls": False}}}
_ROOT = {"userIdentity": {"type": "Root"}}
# Condition, what is in the event beside its name, and what makes it false beside an error.
_TRAIL: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ('ct.user.identitytype="AssumedRole" and json.value[/responseElements/ConsoleLogin]="Success"', "ConsoleLogin",
     _LOGIN, {"responseElements": {"ConsoleLogin": "Failure"}}),
    ('ct.user.identitytype!="AssumedRole" and json.value[/responseElements/ConsoleLogin]="Success" and '
     'json.value[/additionalEventData/MFAUsed]="No"', "ConsoleLogin", _NO_FACTOR,
     {"additionalEventData": {"MFAUsed": "Yes"}}),
    ('json.value[/additionalEventData/MFAUsed]="No" and ct.user.identitytype!="AssumedRole" and '
     'json.value[/responseElements/ConsoleLogin]="Success" and ct.user.identitytype="Root"', "ConsoleLogin",
     {**_NO_FACTOR, **_ROOT}, {"userIdentity": {"type": "IAMUser"}}),
    ('ct.user.identitytype="Root" and ct.request.username="AWS ROOT USER"', "DeactivateMFADevice",
     {**_ROOT, "requestParameters": {"userName": "AWS ROOT USER"}}, {"requestParameters": {"userName": "ann"}}),
    ('ct.src="ecs.amazonaws.com"', "CreateService", {"eventSource": "ecs.amazonaws.com"}, {"eventSource": "x"}),
    ('ct.src="ecs.amazonaws.com"', "StartTask", {"eventSource": "ecs.amazonaws.com"}, {"eventSource": "x"}),
    ("not ct.region in (us-east-0)", "RunInstances", {"awsRegion": "eu-west-1"}, {"awsRegion": "us-east-0"}),
    ('json.value[/requestParameters/publicAccessBlock]="" and '
     "(json.value[/requestParameters/PublicAccessBlockConfiguration/RestrictPublicBuckets]=false or "
     "json.value[/requestParameters/PublicAccessBlockConfiguration/BlockPublicAcls]=false)",
     "PutBucketPublicAccessBlock", _OPENED, {"requestParameters": {"publicAccessBlock": ""}}),
    *[("ct.name exists", name, {}, {"eventName": "Other"}) for name in (
        "CreateUser", "CreateGroup", "DeleteGroup", "CreateFunction20150331", "UpdateFunctionCode20150331v2",
        "UpdateFunctionConfiguration20150331v2", "RunInstances", "DeleteBucketEncryption", "ListBuckets",
        "PutBucketAcl", "PutBucketPolicy", "CreateTrail", "StopLogging")],
]


def _fires(source: str, condition: str, *events: dict[str, Any]) -> list[str]:
    text = (f"- rule: r\n  desc: d\n  priority: WARNING\n  source: {source}\n  output: o\n"
            f"  condition: {json.dumps(condition)}\n")
    matcher = falco.load(text).compile(source)
    return [alert.rule for event in events for alert in matcher("pluginevent", event)]


@pytest.mark.parametrize(("condition", "name", "event", "other"), _TRAIL)
def test_cloudtrail(condition: str, name: str, event: dict[str, Any], other: dict[str, Any]) -> None:
    condition = f'ct.name="{name}" and {_OK} and {condition}'
    whole = {"eventSource": "iam.amazonaws.com", "eventName": name, **event}
    assert _fires("aws_cloudtrail", condition, whole) == ["r"]
    assert _fires("aws_cloudtrail", condition, {**whole, **other}) == []
    assert _fires("aws_cloudtrail", condition, {**whole, "errorCode": "AccessDenied"}) == []
    assert source_of(whole) == "aws_cloudtrail"


_METHODS = {
    "cloudsql": ("cloudsql.users.update", "cloudsql.users.delete", "cloudsql.backupRuns.delete",
                 "cloudsql.instances.export", "cloudsql.instances.delete", "cloudsql.instances.update",
                 "cloudsql.instances.create", "cloudsql.instances.patch"),
    "storage": ("storage.buckets.list", "storage.buckets.delete", "storage.buckets.update",
                "storage.setIamPermissions"),
    "compute": ("compute.instances.insert", "compute.instances.stop", "compute.firewalls.patch",
                "compute.securityPolicies.delete", "compute.securityPolicies.addRule",
                "compute.networkEdgeSecurityServices.update", "compute.backendServices.delete"),
    "iam": tuple(f"google.iam.admin.v1.{name}" for name in (
        "CreateServiceAccount", "DeleteServiceAccount", "UpdateServiceAccount", "CreateServiceAccountKey",
        "DeleteServiceAccountKey", "CreateRole", "UpdateRole")),
    "cloudresourcemanager": ("SetIamPolicy",),
    "cloudfunctions": tuple(f"google.cloud.functions.v1.CloudFunctionsService.{verb}Function"
                            for verb in ("Create", "Update", "Delete")),
    "cloudkms": ("CreateKeyRing", "CreateCryptoKey", "UpdateCryptoKey", "DestroyCryptoKeyVersion"),
    "pubsub": ("google.pubsub.v1.Publisher.DeleteTopic", "google.pubsub.v1.Subscriber.UpdateSubscription",
               "google.pubsub.v1.Subscriber.DeleteSubscription"),
    "logging": ("google.logging.v2.ConfigServiceV2.UpdateSink", "google.logging.v2.ConfigServiceV2.DeleteSink"),
}


@pytest.mark.parametrize(("service", "method"), [(name, method) for name in _METHODS for method in _METHODS[name]])
def test_google_cloud(service: str, method: str) -> None:
    host = f"{service}.googleapis.com"
    equal = "contains" if service == "compute" else "="
    condition = f'gcp.serviceName="{host}" and gcp.methodName {equal} "{method}"'
    said = f"v1.{method}" if service == "compute" else method
    entry = {"protoPayload": {"serviceName": host, "methodName": said}}
    assert _fires("gcp_auditlog", condition, entry) == ["r"]
    assert _fires("gcp_auditlog", condition, {"protoPayload": {"serviceName": host, "methodName": "list"}},
                  {"protoPayload": {"serviceName": "x", "methodName": said}}) == []


@pytest.mark.parametrize(("kind", "place"), [("gcs_bucket", ("serviceData", "policyDelta")),
                                             ("bigquery_dataset", ("metadata", "datasetChange"))])
@pytest.mark.parametrize("member", ["allUsers", "allAuthenticatedUsers"])
def test_google_cloud_public(kind: str, place: tuple[str, str], member: str) -> None:
    condition = ('gcp.policyDelta contains "ADD" and (gcp.policyDelta contains "allAuthenticatedUsers" or '
                 'gcp.policyDelta contains "allUsers")')

    def entry(action: str, principal: str, where: tuple[str, str] = place) -> dict[str, Any]:
        deltas = [{"action": action, "member": principal}]
        return {"resource": {"type": kind}, "protoPayload": {where[0]: {where[1]: {"bindingDeltas": deltas}}}}

    assert _fires("gcp_auditlog", condition, entry("ADD", member)) == ["r"]
    assert _fires("gcp_auditlog", condition, entry("REMOVE", member), entry("ADD", "user:ann@example.com"),
                  entry("ADD", member, ("serviceData", "datasetChange"))) == []


_SECRET = {"files": [{"name": "a.env", "matches": [{"desc": "AWS key", "line": 3}]}]}
_HUB: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("github.type=ping", "ping", {}, {"webhook_type": "meta"}),
    *[(f"github.type={kind} and github.action={action}", kind, {"action": action}, {"action": "x"})
      for kind, action in (
        ("meta", "deleted"), ("repository", "publicized"), ("repository", "privatized"), ("repository", "created"),
        ("repository", "deleted"), ("deploy_key", "created"), ("deploy_key", "deleted"), ("member", "added"),
        ("member", "removed"))],
    *[(f"github.type=repository and github.action={action} and github.repo.public=true", "repository",
       {"action": action, "repository": {"private": False}}, {"repository": {"private": True}})
      for action in ("created", "deleted")],
    ("github.type=push and github.diff.has_secrets = true and github.repo.public=true", "push", _SECRET,
     {"files": [{"name": "a.env", "matches": []}]}),
    ("github.type=push and github.diff.has_secrets = true and github.repo.public=false", "push",
     {**_SECRET, "repository": {"private": True}}, {"repository": {"private": False}}),
    ("github.type=workflow_run and github.action=requested and github.workflow.has_miners=true", "workflow_run",
     {"action": "requested", "workflow_miner_detections": {"matches": [{"type": "xmrig"}]}},
     {"workflow_miner_detections": {"matches": []}}),
]


@pytest.mark.parametrize(("condition", "kind", "event", "other"), _HUB)
def test_github(condition: str, kind: str, event: dict[str, Any], other: dict[str, Any]) -> None:
    whole = {"webhook_type": kind, **event}
    assert _fires("github", condition, whole) == ["r"]
    assert _fires("github", condition, {**whole, **other}) == []
    assert source_of(whole) == "github"


@pytest.mark.parametrize("kind", [
    "user.account.update_password", "user.lifecycle.create", "user.authentication.sso", "user.account.lock",
    "user.lifecycle.unsuspend", "user.lifecycle.activate", "user.lifecycle.deactivate", "user.lifecycle.suspended",
    "user.account.privilege.grant", "system.api_token.create", "user.session.access_admin_app",
    "group.user_membership.add", "user.mfa.factor.deactivate", "user.mfa.factor.reset_all",
    "user.account.reset_password", "system.org.rate_limit.violation", "application.user_membership.add",
    "user.session.impersonation.initiate"])
def test_okta(kind: str) -> None:
    condition = f'okta.evt.type = "{kind}"'
    assert _fires("okta", condition, {"eventType": kind}) == ["r"]
    assert _fires("okta", condition, {"eventType": f"{kind}s"}, {}) == []


def test_okta_from_a_country() -> None:
    condition = 'okta.evt.type = "user.session.start" and not okta.client.geo.country in (Austria)'

    def login(country: str) -> dict[str, Any]:
        return {"eventType": "user.session.start", "client": {"geographicalContext": {"country": country}}}

    assert _fires("okta", condition, login("Norway")) == ["r"]
    assert _fires("okta", condition, login("Austria")) == []


@pytest.mark.parametrize(("kind", "field"), [("user.authentication.auth_via_mfa", "failure"),
                                             ("user.mfa.okta_verify.deny_push", "deny")])
def test_okta_counts_what_came_before(kind: str, field: str) -> None:
    condition = f"okta.mfa.{field}.countlast[300]>=3"

    def event(second: int, actor: str = "a", kind: str = kind, result: str = "FAILURE") -> dict[str, Any]:
        return {"eventType": kind, "actor": {"id": actor}, "outcome": {"result": result},
                "published": f"2026-01-01T00:{second // 60:02}:{second % 60:02}.000Z"}

    assert _fires("okta", condition, event(0), event(1), event(2)) == ["r"]
    assert _fires("okta", condition, event(0), event(1), event(2, actor="b")) == []
    assert _fires("okta", condition, event(0), event(1), event(301)) == []
    assert _fires("okta", condition, event(0), event(1), event(2, kind="user.session.start")) == []
    assert _fires("okta", condition, *[{**event(number), "actor": {}} for number in range(3)]) == ["r"]
    if field == "failure":
        assert _fires("okta", condition, event(0), event(1), event(2, result="SUCCESS")) == []


def test_okta_keeps_a_bounded_history() -> None:
    history = OktaHistory()
    for number in range(MOST_ACTORS + 5):
        OktaEvent({"eventType": "user.mfa.okta_verify.deny_push", "actor": {"id": str(number)},
                   "published": "2026-01-01T00:00:00Z"}, history)
    assert len(history._times) == MOST_ACTORS
    denied = {"eventType": "user.mfa.okta_verify.deny_push", "actor": {"id": "x"}, "published": "2026-01-01T00:00:00Z"}
    for _ in range(300):
        OktaEvent(denied, history)
    assert OktaEvent(denied, history).get("okta.mfa.deny.countlast[1]") == 200


@pytest.mark.parametrize(("event", "told"), [
    ({"eventSource": "s3.amazonaws.com", "eventName": "GetObject", "userIdentity":
      {"type": "IAMUser", "userName": "ann"},
      "sourceIPAddress": "10.0.0.1", "readOnly": True, "requestParameters": {"bucketName": "b", "key": "k"},
      "additionalEventData": {"bytesTransferredOut": 33.0, "bytesTransferredIn": 2},
      "eventTime": "2026-01-01T00:00:00Z"},
     {"ct.info": "ann via 10.0.0.1 ← GetObject Size=35 URI=s3://b/k", "ct.shortsrc": "s3", "s3.bytes": 35,
      "s3.bytes.out": 33, "s3.cnt.get": 1, "s3.cnt.put": None, "s3.cnt.other": None, "ct.readonly": "true",
      "evt.rawtime": 1_767_225_600_000_000_000, "ct.user.accountid": None}),
    ({"eventName": "RunInstances", "errorCode": "x", "readOnly": False, "sourceIPAddress": "ec2.amazonaws.com",
      "userIdentity": {"type": "AWSService", "invokedBy": "ec2.amazonaws.com"}, "recipientAccountId": "12",
      "resources": [{"a": 1}, {"b": "x"}],
      "requestParameters": {"tagSpecificationSet": {"items": [{"resourceType": "instance", "tags": [
          {"key": "Name", "value": "web"}]}]}}},
     {"ct.info": "ec2.amazonaws.com !→ RunInstances", "ec2.name": "web", "ct.user.accountid": "12",
      "ct.resources": '{"a":1},{"b":"x"}', "s3.cnt.other": 1, "s3.uri": None}),
    ({"userIdentity": {"type": "AssumedRole"}}, {"ct.user": "AssumedRole", "ct.readonly": None,
                                                 "ct.info": "<invalid cloudtrail event: eventSource field missing>"}),
    ({}, {"ct.user": None, "ct.info": "<invalid cloudtrail event: userIdentity field missing>", "ct.error": None})])
def test_cloudtrail_fields(event: dict[str, Any], told: dict[str, Any]) -> None:
    read = reader("aws_cloudtrail")
    assert read is not None
    assert {name: read(event).get(name) for name in told} == told


@pytest.mark.parametrize(("source", "event", "told"), [
    ("github", {"webhook_type": "push", "repository": {"html_url": "https://github.com/a/b"},
                "head_commit": {"id": "c"},
                "commits": [{"added": ["x", "y"]}, {"added": ["z"]}], **_SECRET},
     {"github.repo.name": "a/b", "github.commit.added": "x,yz", "github.diff.committed_secrets.desc": "AWS key",
      "github.diff.committed_secrets.links": "https://github.com/a/b/blob/c/a.env/#L3", "github.user": "",
      "github.workflow.has_miners": None, "github.webhook.id": "0", "evt.rawtime": None}),
    ("github", {"webhook_type": "push"}, {"github.diff.has_secrets": "", "github.diff.committed_secrets.desc": None}),
    ("gcp_auditlog", {"resource": {"type": "gce", "labels": {"zone": "us-central1-a"}}, "timestamp":
                      "2026-01-01T01:00:00+01:00", "protoPayload": {"request": {"a": [1]}}},
     {"gcp.location": "us-central1", "gcp.request": '{"a":[1]}', "gcp.resourceLabels": '{"zone":"us-central1-a"}',
      "evt.rawtime": 1_767_225_600_000_000_000, "gcp.logging.sink": None, "gcp.user": None}),
    ("okta", {"debugContext": {"debugData": {"requestUri": "/app/office365/x"}}, "target": [
        {"type": "User", "id": "1", "displayName": "Ann"},
        {"type": "AppInstance", "alternateId": "O", "displayName": "P"}],
        "client": {"geographicalContext": {"geolocation": {"lat": 48.2}}}, "securityContext": {"isProxy": False}},
     {"okta.app": "office365", "okta.target.user.name": "Ann", "okta.target.group.id": None, "okta.severity": "",
      "okta.target.app.alternateid": "O", "okta.targets.displayName": "Ann,P", "okta.targets.displayName[1]": "P",
      "okta.targets.displayName[2]": None, "okta.client.geo.lat": "48.2", "okta.security.isproxy": "false",
      "okta.org": None, "okta.security.asnumber": 0})])
def test_fields(source: str, event: dict[str, Any], told: dict[str, Any]) -> None:
    read = reader(source)
    assert read is not None
    assert {name: read(event).get(name) for name in told} == told


@pytest.mark.parametrize("source", SOURCES)
def test_every_field_that_a_rule_may_name_is_read(source: str) -> None:
    """But those of the engine, and the plugin's own setting."""
    read = reader(source)
    assert read is not None
    known = set(read({}).fields)
    unread = {name for name in fields.table(source) if name not in known and not name.startswith("evt.")}
    assert unread == ({"okta.org", "okta.mfa.failure.countlast", "okta.mfa.deny.countlast"} if source == "okta" else
                      set())


_JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
                     lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from((
                         "userIdentity", "type", "resources", "requestParameters", "files", "matches", "commits",
                         "added",
                         "target", "actor", "client", "protoPayload", "resource", "labels", "published", "eventName",
                         "additionalEventData", "bytesTransferredIn", "debugContext", "debugData", "requestUri")),
                         inner, max_size=6), max_leaves=12)


@given(st.dictionaries(st.sampled_from(("userIdentity", "requestParameters", "files", "commits", "target", "actor",
                                        "protoPayload", "resource", "debugContext", "additionalEventData", "resources",
                                        "eventType", "published", "outcome")), _JSON, max_size=6))
def test_any_object_is_answered_for(event: dict[str, Any]) -> None:
    """Values of the types that their fields have, or null: never an exception."""
    for source in SOURCES:
        read = reader(source)
        assert read is not None
        answers = read(event)
        for name, info in fields.table(source).items():
            value = answers.get(f"{name}[1]" if info.argument == "required" else name)
            if name in ("ct.id", "s3.bytes", "okta.security.asnumber", "okta.mfa.deny.countlast", "github.repo"):
                assert value is None or isinstance(value, int if info.type is fields.Type.UNSIGNED else str)
        source_of(event)


def test_documents_are_split_into_events() -> None:
    assert split({"Records": [{"a": 1}, {}]}) == [{"a": 1}, {}]
    assert split([{"a": 1}]) == split({"a": 1}) == [{"a": 1}]
    assert split({"kind": "EventList", "items": [{"kind": "Event", "stage": "x"}]}) == [{"kind": "Event", "stage": "x"}]
    for wrong in ([1], "x", {"Records": [1]}, {"kind": "EventList", "items": [{}]}):
        with pytest.raises(ValueError, match="event"):
            split(wrong)
    assert source_of({"eventType": "x", "actor": {}, "published": ""}) == "okta"
    assert source_of({"protoPayload": {}}) == "gcp_auditlog"
    assert source_of({}) is source_of([]) is None
    assert jsonsources.reader("syscall") is None
