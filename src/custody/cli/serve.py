"""`custody serve`: the same services apart, each where it is wanted."""

from __future__ import annotations

import sys

import click
from click.core import ParameterSource

from custody.admission.configuration import Service
from custody.cli.loglines import log_options, logged
from custody.cli.run import settings
from custody.cli.services import kubeconfig_option, serve_forever
from custody.cli.workers import supervised, workers_option
from custody.errors import UsageError
from custody.server.access.exposure import check_exposure
from custody.server.platform import SERVED
from custody.server.worker import current

_LOOK = 60.0  # seconds, as `custody watch` has it
_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - they are asked about


@click.command("serve")
@click.option("--roles", required=True, metavar="ROLE,…", help=f"Some of {', '.join(SERVED)}.")
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Address to listen on. Beyond this machine the registry needs [auth] in custody.toml, and "
                   "what takes passwords or tokens needs TLS.")
@click.option("--port", default=5080, show_default=True, type=click.IntRange(0, 65535),
              help="Where all but the webhook listen, and /healthz and /readyz without TLS; 0 chooses one. Admission "
                   "alone listens there only where this is given.")
@click.option("--webhook-port", default=5443, show_default=True, type=click.IntRange(0, 65535),
              help="Admission webhook, with TLS.")
@click.option("--webhook-name", "webhook_names", multiple=True, metavar="HOST",
              help="A name or address by which the API server calls the webhook, for its certificate; repeatable. "
                   "--host and localhost are in it.")
@click.option("--webhook-service", metavar="NAMESPACE/NAME",
              help="The Service that the API server calls the webhook by: its names, for the certificate.")
@click.option("--webhook-client-ca", metavar="FILE",
              help="Authorities of the API server's client certificate; the webhook then talks to nobody without one.")
@click.option("--provider-port", default=5444, show_default=True, type=click.IntRange(0, 65535),
              help="Where Gatekeeper asks about images (the provider role), with TLS by [external_data].")
@click.option("--tls-certificate", metavar="FILE", help="With --tls-key: --port speaks TLS with this certificate.")
@click.option("--tls-key", metavar="FILE", help="The private key of --tls-certificate.")
@click.option("--behind-proxy", is_flag=True, help="A proxy in front ends TLS, and nobody else reaches --host.")
@click.option("--insecure", is_flag=True, help="Serve beyond this machine without [auth] or TLS all the same.")
@click.option("--policy", "policies", multiple=True, metavar="FILE|DIR", help="Policies; default: custody.toml's.")
@workers_option
@kubeconfig_option
@log_options
def command(roles: str, host: str, port: int, webhook_port: int, webhook_names: tuple[str, ...],
            webhook_service: str | None, webhook_client_ca: str | None, provider_port: int, tls_certificate: str | None,
            tls_key: str | None, behind_proxy: bool, insecure: bool, policies: tuple[str, ...],
            workers: int, kubeconfig: str | None, log_format: str | None, log_level: str | None) -> None:
    """Run some of the services. Where they are reached by other names, `urls` in custody.toml says so."""
    chosen = tuple(roles.split(","))
    context = click.get_current_context()
    given = {"tls_certificate": tls_certificate, "tls_key": tls_key, "webhook_client_ca": webhook_client_ca,
             "kubeconfig": kubeconfig}
    configured = logged(settings(), log_format, log_level).replace(
        **{name: value for name, value in given.items() if value is not None})
    if webhook_service is not None:
        webhook_names += Service.parse(webhook_service, "--webhook-service").hosts
    if "admission" not in chosen:
        for flag, value in (("service", webhook_service), ("name", webhook_names), ("client-ca", webhook_client_ca)):
            if value:
                raise UsageError(f"--webhook-{flag}: is for the admission role, and --roles names {roles}")
        if context.get_parameter_source("policies") is ParameterSource.COMMANDLINE:
            raise UsageError(f"--policy: is for the admission role, and --roles names {roles}")
        if kubeconfig is not None:
            raise UsageError(f"--kubeconfig: is for the admission role, and --roles names {roles}")
        if context.get_parameter_source("webhook_port") is ParameterSource.COMMANDLINE:
            print(f"warning: --webhook-port: nothing listens there, --roles names {roles}", file=sys.stderr)
    if "provider" not in chosen and context.get_parameter_source("provider_port") is ParameterSource.COMMANDLINE:
        print(f"warning: --provider-port: nothing listens there, --roles names {roles}", file=sys.stderr)
    if "admission" in chosen and (host in _EVERY_ADDRESS
          and not (webhook_names or configured.webhook_names or configured.webhook_certificate)):
        print(f"warning: --host {host}: nobody calls by that name, and the webhook's certificate has no other but "
              "this machine's own; --webhook-name HOST adds one", file=sys.stderr)
    if host in _EVERY_ADDRESS and (unnamed := [role for role in ("oidc", "ca", "log", "tsa")
                                               if role in chosen and role not in configured.urls]):
        print(f"warning: --host {host}: nobody calls by that name, and the trust files name {', '.join(unnamed)} so; "
              "`urls` in custody.toml says how they are called", file=sys.stderr)
    for warning in check_exposure(configured, chosen, host, insecure=insecure, behind_proxy=behind_proxy):
        print(warning, file=sys.stderr)
    if "scanner" in chosen:
        if configured.rescan is None:
            raise UsageError("--roles: scanner needs to know whose scans it keeps young",
                             hint="[rescan] with `repositories` in custody.toml")
        if not configured.watch_interval:
            configured = configured.replace(watch_interval=_LOOK)
    alone, apart = set(chosen) == {"admission"}, {*chosen} <= {"admission", "provider"}
    asked = context.get_parameter_source("port") is ParameterSource.COMMANDLINE
    if workers > 1 and not alone:
        raise UsageError(f"--workers: is for the admission role alone, and --roles names {roles}",
                         hint="the log has one sequencer, and the registry one owner of its data")
    if workers > 1 and current() is None:
        addresses = {"--webhook-port": (host, webhook_port)} | ({"--port": (host, port)} if asked else {})
        supervised(configured, workers, addresses)
        return
    if alone and not asked and configured.webhook_client_ca is not None:
        print("warning: webhook_client_ca: who looks after the process has no such certificate; --port gives it "
              "/healthz and /readyz", file=sys.stderr)
    serve_forever(configured, chosen, host, None if apart and not asked else port, webhook_port, policies,
                  webhook_names, provider_port)
