"""`custody admission run` and `custody admission crds`: a cluster whose policies custody judges by."""

from __future__ import annotations

import click

from custody.admission.configuration import OWN_NAMESPACES, Service, check_url, to_yaml
from custody.admission.definitions import GATEKEEPER, KYVERNO, documents
from custody.admission.exemption import Exemption
from custody.cli import exempting
from custody.cli.loglines import log_options, logged
from custody.cli.run import settings
from custody.errors import UsageError
from custody.formats.policyreport import OPENREPORTS, WGPOLICY
from custody.policy.gatekeeper.connection import CHANNEL, CHANNEL_NAME, CONNECTION


@click.command("crds")
@click.option("--of", "categories", type=click.Choice([KYVERNO, GATEKEEPER]), multiple=True,
              help="Only the kinds of one of them, where the cluster has the other's own; default: both.")
def crds(categories: tuple[str, ...]) -> None:
    """Print CustomResourceDefinitions of the policies' kinds, for a cluster without Kyverno's or Gatekeeper's own:
    `kubectl apply --server-side -f -`."""
    click.echo(to_yaml(documents(*categories)), nl=False)


@click.command("run")
@click.option("--kubeconfig", metavar="FILE", help="The cluster; default: the one that this is a pod of.")
@click.option("--url", help="Where the API server reaches this webhook from outside of the cluster: https://host:port.")
@click.option("--service", metavar="NAMESPACE/NAME[:PORT]", help="The Service by which it does; default: "
              "that of --namespace that is called custody.")
@click.option("--namespace", default="custody", show_default=True,
              help="Where its Lease and Secrets are; what is in it is never asked about.")
@click.option("--name", default="custody", show_default=True, help="Of its configurations, Lease and Secrets.")
@click.option("--policy", "--policies", "policies", multiple=True, metavar="FILE|DIR",
              help="Judge by these instead of the cluster's policies.")
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")  # noqa: S104 - a pod's own
@click.option("--webhook-port", default=9443, show_default=True, type=click.IntRange(0, 65535), help="The webhook.")
@click.option("--port", type=click.IntRange(0, 65535),
              help="/healthz, /readyz and /metrics without TLS; 0 chooses one.")
@click.option("--exclude", multiple=True, default=OWN_NAMESPACES, show_default=True, help="Namespaces never sent.")
@exempting.options
@click.option("--tls-secret", default="", metavar="NAME",
              help="A Secret of --namespace with tls.crt, tls.key and ca.crt that somebody else keeps, such as "
                   "cert-manager; default: an authority of its own.")
@click.option("--inject-ca-from", default="", metavar="NAMESPACE/CERTIFICATE",
              help="With --tls-secret: cert-manager writes caBundle from this Certificate.")
@click.option("--reports", type=click.Choice(["policyreports", "openreports", "none"]), default="policyreports",
              show_default=True, help="What is written of what lies in the cluster: wgpolicyk8s.io, openreports.io, or "
              "nothing, and nothing is scanned.")
@click.option("--audit-interval", type=click.FloatRange(0), default=60, show_default=True, metavar="SECONDS",
              help="Between two audits of what lies in the cluster by Gatekeeper's constraints; 0: none.")
@click.option("--constraint-violations-limit", "violations_limit", type=click.IntRange(0, 500), default=20,
              show_default=True, help="Violations that the status of a constraint names.")
@click.option("--enable-violation-export", "export", is_flag=True, help="Export what audits find to the Connection "
              "(connection.gatekeeper.sh) of --audit-connection; driver disk.")
@click.option("--audit-connection", default=CONNECTION, show_default=True, metavar="NAME", help="The Connection.")
@click.option("--audit-channel", default=CHANNEL, show_default=True, metavar="NAME",
              help="The folder below the Connection's path.")
@click.option("--withdraw", is_flag=True, help="The last replica that stops takes the webhooks with it: nothing is "
              "judged then. Without it, requests fail or pass as failurePolicy says.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), metavar="N",
              help="Processes that share the addresses, one for each core; each is a replica, and one of all leads.")
@log_options
def run(kubeconfig: str | None, url: str | None, service: str | None, namespace: str, name: str,
        policies: tuple[str, ...], host: str, webhook_port: int, port: int | None, exclude: tuple[str, ...],
        exempt_namespaces: tuple[str, ...], exempt_prefixes: tuple[str, ...], exempt_suffixes: tuple[str, ...],
        tls_secret: str, inject_ca_from: str, reports: str, audit_interval: float, violations_limit: int,
        export: bool, audit_connection: str, audit_channel: str, withdraw: bool, workers: int,
        log_format: str | None, log_level: str | None) -> None:
    """Judge what a cluster is asked for by the policies that it holds.

    Watches policies and exceptions, keeps the webhook configurations, certificates and statuses in step, refuses
    policies that cannot be compiled. Any number of replicas; one of them leads.
    """
    if url is not None and service is not None:
        raise UsageError("admission run: got --url and --service, expected one of them")
    if url is not None:
        check_url(url, "--url")
    if inject_ca_from and not tls_secret:
        raise UsageError("--inject-ca-from: needs --tls-secret, the Secret of that Certificate")
    if not CHANNEL_NAME.fullmatch(audit_channel):
        raise UsageError(f"--audit-channel: got {audit_channel!r}, expected the name of one folder")
    if export and not audit_interval:
        raise UsageError("--enable-violation-export: needs audits, and --audit-interval is 0")
    configured = logged(settings(), log_format, log_level)
    if kubeconfig is not None:
        configured = configured.replace(kubeconfig=kubeconfig)
    exempt = Exemption.of(exempt_namespaces, exempt_prefixes, exempt_suffixes, configured.exempt_namespaces)
    place = url if url is not None else Service.parse(service or f"{namespace}/custody", "--service", port=True)
    from custody.cli.incluster import serve
    from custody.cli.workers import supervised
    from custody.server.incluster import Options
    from custody.server.worker import current

    if workers > 1 and current() is None:
        supervised(configured, workers, {"--webhook-port": (host, webhook_port)} | (
            {} if port is None else {"--port": (host, port)}))
        return
    serve(configured, Options(place, namespace, host, webhook_port, port, name, exclude, policies, tls_secret,
                              inject_ca_from, {"policyreports": WGPOLICY, "openreports": OPENREPORTS}.get(reports, ""),
                              audit_interval, violations_limit, export, audit_connection, audit_channel, exempt,
                              withdraw))
