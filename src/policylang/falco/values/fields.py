"""Fields that a rule may name: their types and arguments, per event source.

From libsinsp's sinsp_filtercheck_*.cpp (libs 0.25) and the plugins container, k8saudit, json, cloudtrail, gcpaudit,
github and okta. A field of an event is read by the name it has in a rule, with its argument: `proc.aname[2]`,
`evt.arg.flags`.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache
from typing import NamedTuple


class Type(StrEnum):
    """What a value of a field is in Python, once it is not null."""

    TEXT = "CHARBUF"  # str
    BYTES = "BYTEBUF"  # bytes
    BOOL = "BOOL"  # bool
    SIGNED = "INT64"  # int
    UNSIGNED = "UINT64"  # int, not negative
    PORT = "PORT"  # int
    DOUBLE = "DOUBLE"  # float
    ADDRESS = "IPADDR"  # str
    NETWORK = "IPNET"  # str, an address: it is compared with networks
    DYNAMIC = "DYN"  # str or int, as the event has it


class Shape(StrEnum):
    """How many values a field has."""

    ONE = "one"
    LIST = "list"  # in: all of them; intersects: any of them
    ANCESTORS = "ancestors"  # any of them, whatever the operator
    ENDS = "ends"  # client's and server's: any of them, but != asks both


class Info(NamedTuple):
    name: str
    type: Type
    shape: Shape
    argument: str  # none, allowed, required; dotted: `evt.arg.name` too


_TYPES = {"s": Type.TEXT, "b": Type.BOOL, "i": Type.SIGNED, "u": Type.UNSIGNED, "p": Type.PORT, "d": Type.DOUBLE,
          "a": Type.ADDRESS, "n": Type.NETWORK, "x": Type.BYTES, "?": Type.DYNAMIC}
_SHAPES = {"": Shape.ONE, "*": Shape.LIST, "^": Shape.ANCESTORS, "=": Shape.ENDS}
_ARGUMENTS = {"": "none", "[]": "allowed", "[!]": "required", ".": "dotted"}
_ENTRY = re.compile(r"([a-zA-Z0-9_.]+?):([sbiupdanx?])([*^=]?)(\[!?\]|\.)?\Z")

# Every source has these. name:type, then * list, ^ ancestors, = both ends, [] argument, [!] required, . dotted.
_COMMON = """
evt.num:u evt.time:s evt.time.s:s evt.time.iso8601:s evt.datetime:s evt.datetime.s:s evt.rawtime:u evt.rawtime.s:u
evt.rawtime.ns:u evt.reltime:u evt.reltime.s:u evt.reltime.ns:u evt.pluginname:s evt.plugininfo:s evt.source:s
evt.is_async:b evt.asynctype:s evt.hostname:s evt.type:s
"""

_SYSCALL = """
evt.latency:u evt.latency.s:u evt.latency.ns:u evt.latency.quantized:u evt.latency.human:s evt.deltatime:u
evt.deltatime.s:u evt.deltatime.ns:u evt.outputtime:s evt.dir:s evt.type.is:u. syscall.type:s evt.category:s evt.cpu:i
evt.args:s evt.arg:s. evt.rawarg:?. evt.info:s evt.buffer:x evt.buflen:u evt.res:s evt.rawres:i evt.failed:b evt.is_io:b
evt.is_io_read:b evt.is_io_write:b evt.io_dir:s evt.is_wait:b evt.wait_latency:u evt.is_syslog:b evt.count:u
evt.count.error:u evt.count.error.file:u evt.count.error.net:u evt.count.error.memory:u evt.count.error.other:u
evt.count.exit:u evt.count.procinfo:u evt.count.threadinfo:u evt.around:u[!] evt.abspath:s. evt.buflen.in:u
evt.buflen.out:u evt.buflen.file:u evt.buflen.file.in:u evt.buflen.file.out:u evt.buflen.net:u evt.buflen.net.in:u
evt.buflen.net.out:u evt.is_open_read:b evt.is_open_write:b evt.is_open_exec:b evt.is_open_create:b
evt.infra.docker.name:s evt.infra.docker.container.id:s evt.infra.docker.container.name:s
evt.infra.docker.container.image:s

proc.exe:s proc.pexe:s proc.aexe:s^[] proc.exepath:s proc.pexepath:s proc.aexepath:s^[] proc.name:s proc.pname:s
proc.aname:s^[] proc.args:s[] proc.cmdline:s proc.pcmdline:s proc.acmdline:s^[] proc.cmdnargs:u proc.cmdlenargs:u
proc.exeline:s proc.env:s[] proc.aenv:s^[] proc.cwd:s proc.loginshellid:i proc.tty:u proc.pid:i proc.ppid:i
proc.apid:i^[] proc.vpid:i proc.pvpid:i proc.sid:i proc.sname:s proc.sid.exe:s proc.sid.exepath:s proc.pgid:i
proc.pgid.name:s proc.pgid.exe:s proc.pgid.exepath:s proc.vpgid:i proc.vpgid.name:s proc.vpgid.exe:s
proc.vpgid.exepath:s proc.duration:u proc.ppid.duration:u proc.pid.ts:u proc.ppid.ts:u proc.is_exe_writable:b
proc.is_exe_upper_layer:b proc.is_exe_lower_layer:b proc.is_exe_from_memfd:b proc.is_sid_leader:b
proc.is_pgid_leader:b proc.is_vpgid_leader:b proc.exe_ino:i proc.exe_ino.ctime:u proc.exe_ino.mtime:u
proc.exe_ino.ctime_duration_proc_start:u proc.exe_ino.ctime_duration_pidns_start:u proc.pidns_init_start_ts:u
thread.cap_permitted:s thread.cap_inheritable:s thread.cap_effective:s proc.is_container_healthcheck:b
proc.is_container_liveness_probe:b proc.is_container_readiness_probe:b proc.fdopencount:u proc.fdlimit:i proc.fdusage:d
proc.vmsize:u proc.vmrss:u proc.vmswap:u thread.pfmajor:u thread.pfminor:u thread.tid:i thread.ismain:b thread.vtid:i
thread.nametid:s thread.exectime:u thread.totexectime:u thread.cgroups:s thread.cgroup:s. proc.nthreads:u
proc.nchilds:u thread.cpu:d thread.cpu.user:d thread.cpu.system:d thread.vmsize:u thread.vmrss:u thread.vmsize.b:u
thread.vmrss.b:u proc.stdin.type:s proc.stdout.type:s proc.stderr.type:s proc.stdin.name:s proc.stdout.name:s
proc.stderr.name:s

fd.num:i fd.type:s fd.typechar:s fd.name:s fd.directory:s fd.filename:s fd.ip:a= fd.cip:a fd.sip:a fd.lip:a fd.rip:a
fd.port:p= fd.cport:p fd.sport:p fd.lport:p fd.rport:p fd.l4proto:s fd.sockfamily:s fd.is_server:b fd.uid:s
fd.containername:s fd.containerdirectory:s fd.proto:p= fd.cproto:s fd.sproto:s fd.lproto:s fd.rproto:s fd.net:n=
fd.cnet:n fd.snet:n fd.lnet:n fd.rnet:n fd.connected:b fd.name_changed:b fd.cip.name:s fd.sip.name:s fd.lip.name:s
fd.rip.name:s fd.dev:i fd.dev.major:i fd.dev.minor:i fd.ino:i fd.nameraw:s fd.types:s*[] fd.is_upper_layer:b
fd.is_lower_layer:b

fs.path.name:s fs.path.nameraw:s fs.path.source:s fs.path.sourceraw:s fs.path.target:s fs.path.targetraw:s
fdlist.nums:s fdlist.names:s fdlist.cips:s fdlist.sips:s fdlist.cports:s fdlist.sports:s
user.uid:u user.name:s user.homedir:s user.shell:s user.loginuid:i user.loginname:s group.gid:u group.name:s
util.cnt:u

container.id:s container.full_id:s container.name:s container.image:s container.image.id:s container.type:s
container.privileged:b container.mounts:s container.mount:s[!] container.mount.source:s[!] container.mount.dest:s[!]
container.mount.mode:s[!] container.mount.rdwr:s[!] container.mount.propagation:s[!] container.image.repository:s
container.image.tag:s container.image.digest:s container.healthcheck:s container.liveness_probe:s
container.readiness_probe:s container.start_ts:u container.duration:u container.ip:s container.cni.json:s
container.host_pid:b container.host_network:b container.host_ipc:b container.label:s. container.labels:s

k8s.pod.name:s k8s.ns.name:s k8s.pod.id:s k8s.pod.uid:s k8s.pod.sandbox_id:s k8s.pod.full_sandbox_id:s k8s.pod.label:s.
k8s.pod.labels:s k8s.pod.ip:s k8s.pod.cni.json:s k8s.rc.name:s k8s.rc.id:s k8s.rc.label:s. k8s.rc.labels:s
k8s.svc.name:s k8s.svc.id:s k8s.svc.label:s. k8s.svc.labels:s k8s.ns.id:s k8s.ns.label:s. k8s.ns.labels:s
k8s.rs.name:s k8s.rs.id:s k8s.rs.label:s. k8s.rs.labels:s k8s.deployment.name:s k8s.deployment.id:s
k8s.deployment.label:s. k8s.deployment.labels:s
"""

_CONTAINERS = """
name:s*[] image:s*[] image.repository:s*[] command:s*[] args:s*[] host_port:s*[] privileged:s*[]
allow_privilege_escalation:s*[] read_only_fs:s*[] run_as_user:s*[] eff_run_as_user:s*[] run_as_group:s*[]
eff_run_as_group:s*[] proc_mount:s*[] add_capabilities:s*[]
"""

_AUDIT = """
ka.auditid:s ka.stage:s ka.auth.decision:s ka.auth.reason:s ka.auth.openshift.decision:s ka.auth.openshift.username:s
ka.user.name:s ka.user.groups:s* ka.impuser.name:s ka.verb:s ka.uri:s ka.uri.param:s[!] ka.target.name:s
ka.target.namespace:s ka.target.resource:s ka.target.subresource:s ka.target.pod.name:s ka.req.binding.subjects:s*
ka.req.binding.role:s ka.req.binding.subject.has_name:s[!] ka.req.configmap.name:s ka.req.configmap.obj:s
ka.req.container.image:s ka.req.container.image.repository:s ka.req.pod.host_ipc:s ka.req.pod.host_network:s
ka.req.container.host_network:s ka.req.pod.host_pid:s ka.req.container.privileged:s ka.req.pod.run_as_user:s
ka.req.pod.run_as_group:s ka.req.role.rules:s* ka.req.role.rules.apiGroups:s*[] ka.req.role.rules.nonResourceURLs:s*[]
ka.req.role.rules.verbs:s*[] ka.req.role.rules.resources:s*[] ka.req.pod.fs_group:s ka.req.pod.supplemental_groups:s*
ka.req.service.type:s ka.req.service.ports:s*[] ka.req.pod.volumes.hostpath:s*[] ka.req.volume.hostpath:s[!]
ka.req.pod.volumes.flexvolume_driver:s*[] ka.req.pod.volumes.volume_type:s*[] ka.resp.name:s ka.response.code:s
ka.response.reason:s ka.useragent:s ka.sourceips:s*[] ka.cluster.name:s
"""

_JSON = """
json.value:s[!] json.obj:s json.rawtime:s jevt.value:s[!] jevt.obj:s jevt.rawtime:s
"""

_CLOUDTRAIL = """
ct.id:s ct.error:s ct.errormessage:s ct.time:s ct.src:s ct.shortsrc:s ct.name:s ct.user:s ct.user.accountid:s
ct.user.identitytype:s ct.user.principalid:s ct.user.arn:s ct.region:s ct.response.subnetid:s
ct.response.reservationid:s ct.response:s ct.request.availabilityzone:s ct.request.cluster:s ct.request.functionname:s
ct.request.groupname:s ct.request.host:s ct.request.name:s ct.request.policy:s ct.request.serialnumber:s
ct.request.servicename:s ct.request.subnetid:s ct.request.taskdefinition:s ct.request.username:s ct.request:s ct.srcip:s
ct.useragent:s ct.info:s ct.managementevent:s ct.readonly:s ct.requestid:s ct.eventtype:s ct.apiversion:s ct.resources:s
ct.recipientaccountid:s ct.serviceeventdetails:s ct.sharedeventid:s ct.vpcendpointid:s ct.eventcategory:s
ct.addendum.reason:s ct.addendum.updatedfields:s ct.addendum.originalrequestid:s ct.addendum.originaleventid:s
ct.sessioncredentialfromconsole:s ct.edgedevicedetails:s ct.tlsdetails.tlsversion:s ct.tlsdetails.ciphersuite:s
ct.tlsdetails.clientprovidedhostheader:s ct.additionaleventdata:s s3.uri:s s3.bucket:s s3.key:s s3.bytes:u s3.bytes.in:u
s3.bytes.out:u s3.cnt.get:u s3.cnt.put:u s3.cnt.other:u ec2.name:s ec2.imageid:s ecr.repository:s ecr.imagetag:s
iam.role:s iam.policy:s
"""

_GCP = """
gcp.user:s gcp.callerIP:s gcp.userAgent:s gcp.authorizationInfo:s gcp.serviceName:s gcp.policyDelta:s gcp.request:s
gcp.methodName:s gcp.cloudfunctions.function:s gcp.cloudsql.databaseId:s gcp.compute.instanceId:s
gcp.compute.networkId:s gcp.compute.subnetwork:s gcp.compute.subnetworkId:s gcp.dns.zone:s gcp.iam.serviceAccount:s
gcp.iam.serviceAccountId:s gcp.location:s gcp.logging.sink:s gcp.projectId:s gcp.resourceName:s gcp.resourceType:s
gcp.resourceLabels:s gcp.storage.bucket:s gcp.time:s
"""

_GITHUB = """
github.type:s github.action:s github.user:s github.repo:s github.repo.url:s github.repo.name:s github.repo.description:s
github.org:s github.owner:s github.repo.public:s github.collaborator.name:s github.collaborator.role:s
github.webhook.id:s github.webhook.type:s github.commit.added:s github.commit.modified:s github.commit.removed:s
github.diff.has_secrets:s github.diff.committed_secrets.desc:s github.diff.committed_secrets.files:s
github.diff.committed_secrets.lines:s github.diff.committed_secrets.links:s github.workflow.has_miners:s
github.workflow.miners.type:s github.workflow.filename:s
"""

_OKTA = """
okta.app:s okta.behaviors:s okta.org:s okta.evt.type:s okta.evt.legacytype:s okta.severity:s okta.message:s
okta.published:s okta.logonlysecuritydata:s okta.actor.id:s okta.actor.Type:s okta.actor.alternateid:s
okta.actor.name:s okta.client.zone:s okta.client.ip:s okta.client.device:s okta.client.id:s okta.client.geo.city:s
okta.client.geo.state:s okta.client.geo.country:s okta.client.geo.postalcode:s okta.client.geo.lat:s
okta.client.geo.lon:s okta.useragent.os:s okta.useragent.browser:s okta.useragent.raw:s okta.result:s okta.reason:s
okta.transaction.id:s okta.transaction.type:s okta.requesturi:s okta.principal.id:s okta.principal.alternateid:s
okta.principal.type:s okta.principal.name:s okta.authentication.step:s okta.authentication.sessionid:s
okta.authentication.provider:s okta.authentication.credentialprovider:s okta.security.asnumber:u okta.security.asorg:s
okta.security.isp:s okta.security.domain:s okta.security.isproxy:s okta.target.user.id:s okta.target.user.alternateid:s
okta.target.user.name:s okta.target.group.id:s okta.target.group.alternateid:s okta.target.group.name:s
okta.target.app.alternateid:s okta.targets.displayName:s[] okta.mfa.failure.countlast:u[!] okta.mfa.deny.countlast:u[!]
"""

CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")
SOURCES = ("syscall", "k8s_audit", "aws_cloudtrail", "gcp_auditlog", "github", "okta")
# Reading another field answers these: a network is asked about an address.
READ_AS = {"fd.net": "fd.ip", "fd.cnet": "fd.cip", "fd.snet": "fd.sip", "fd.lnet": "fd.lip", "fd.rnet": "fd.rip"}
# Neither on a right-hand side nor under a transformer (libsinsp: EPF_NO_RHS, EPF_NO_TRANSFORMER).
ALONE = frozenset(("fd.ip", "fd.net", "fd.cnet", "fd.snet", "fd.lnet", "fd.rnet", "fd.port", "fd.proto", "evt.rawarg",
                   "evt.around"))
DEPRECATED = ("evt.dir", "evt.latency", "evt.latency.s", "evt.latency.ns", "evt.latency.human", "evt.wait_latency")


def _read(table: str, prefix: str = "") -> dict[str, Info]:
    infos = {}
    for entry in table.split():
        match = _ENTRY.match(entry)
        assert match is not None, entry
        name = prefix + match[1]
        infos[name] = Info(name, _TYPES[match[2]], _SHAPES[match[3]], _ARGUMENTS[match[4] or ""])
    return infos


@cache
def table(source: str) -> dict[str, Info]:
    """Fields of `source` by name."""
    fields = _read(_COMMON)
    if source == "syscall":
        return fields | _read(_SYSCALL)
    fields |= _read(_JSON)
    if source != "k8s_audit":
        return fields | _read({"aws_cloudtrail": _CLOUDTRAIL, "gcp_auditlog": _GCP, "github": _GITHUB,
                              "okta": _OKTA}[source])
    fields |= _read(_AUDIT)
    for containers in CONTAINER_LISTS:
        fields |= _read(_CONTAINERS, f"ka.req.pod.{containers}.")
    del fields["ka.req.pod.ephemeralContainers.host_port"]  # they have no ports
    return fields


def lookup(source: str, name: str, argument: str | None) -> Info | None:
    """What `name[argument]` is, or None: no such field, an argument where none may be, none where one must be."""
    known = table(source)
    info = known.get(name)
    if info is None:
        stem = name
        while info is None and "." in stem:
            stem = stem.rpartition(".")[0]
            info = known.get(stem)
            if info is not None and info.argument != "dotted":
                return None
        return info if argument is None else None
    if argument is None:
        return info if info.argument in ("none", "allowed") else None
    if info.argument == "none":
        return None
    # One ancestor is one value.
    return info._replace(shape=Shape.ONE) if info.shape is Shape.ANCESTORS else info


def anywhere(name: str, argument: str | None) -> Info | None:
    """The same in whichever source has the field: what two of them have, they have alike."""
    return next((info for source in SOURCES if (info := lookup(source, name, argument)) is not None), None)
