"""`custody admission`: what the API server must be told about the webhook."""

from __future__ import annotations

from pathlib import Path

import click

from custody.admission.certs import certificates
from custody.admission.configuration import OWN_NAMESPACES, Service, configurations, to_yaml
from custody.admission.exemption import Exemption
from custody.cli import exempting, kinds
from custody.cli.admission_guard import guard
from custody.cli.admission_run import crds, run
from custody.cli.run import settings
from custody.errors import UsageError


@click.group("admission")
def command() -> None:
    """The admission webhook."""


command.add_command(crds)
command.add_command(guard)
command.add_command(run)


@command.command("config")
@click.option("--url", help="Where the API server reaches the webhook: https://host:port.")
@click.option("--service", metavar="NAMESPACE/NAME[:PORT]",
              help="Instead of --url: the Service by which it does; port 443 unless another is given.")
@click.option("--ca-bundle", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="The authority of the webhook's certificate: ca.crt below the data directory's admission folder.")
@click.option("--policy", "policies", multiple=True, help="Policy files or folders; default: those of custody.toml.")
@click.option("--failure-policy", type=click.Choice(["Fail", "Ignore"]),
              help="What the API server does when the webhook does not answer; default: what each policy asks for.")
@click.option("--timeout", type=click.IntRange(1, 30), help="Seconds; default: what each policy asks for, or 10.")
@click.option("--exclude", multiple=True, default=OWN_NAMESPACES, show_default=True, help="Namespaces never sent.")
@exempting.options
@kinds.options
def _config(url: str | None, service: str | None, ca_bundle: Path, policies: tuple[str, ...],
            failure_policy: str | None, timeout: int | None, exclude: tuple[str, ...],
            exempt_namespaces: tuple[str, ...], exempt_prefixes: tuple[str, ...], exempt_suffixes: tuple[str, ...],
            crds: tuple[str, ...], kubeconfig: Path | None) -> None:
    """Print the webhook configurations, for `kubectl apply -f -`: again whenever policies change."""
    if (url is None) == (service is None):
        raise UsageError("admission config: give one of --url and --service")
    place = url if service is None else Service.parse(service, "--service", port=True)
    bundle = certificates(ca_bundle.read_bytes(), str(ca_bundle))
    configured = settings()
    exempt = Exemption.of(exempt_namespaces, exempt_prefixes, exempt_suffixes, configured.exempt_namespaces)
    chosen = kinds.load(configured, policies, crds, kubeconfig)
    click.echo(to_yaml(configurations(place or "", bundle, chosen if chosen.policies else None,
                                      failure_policy=failure_policy, timeout=timeout, exclude=exclude,
                                      exempt=exempt)), nl=False)
