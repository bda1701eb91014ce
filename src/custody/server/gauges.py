"""What is read at each scrape: how the roles of a process are, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from custody.admission.webhook import Admission
from custody.server.accepting import REFUSED
from custody.server.checks import free_bytes
from custody.server.metrics import Metrics, Reading
from custody.server.runtime import RuntimeApp
from custody.services.cluster.exempted import Exempted
from custody.services.decisions import DecisionKeeper
from custody.services.prefetch import Prefetch
from custody.services.remembered import Remembered
from custody.services.summaries import Summarizing
from custody.trust.log import Sequencer
from custody.wiring import Platform


def of_platform(metrics: Metrics, platform: Platform, roles: Iterable[str]) -> None:
    """Of the listeners, the data directory, and the registry and logs where they are among `roles`."""
    metrics.count("custody_http_refused", "What no application saw, by the answer; cut: without one; tls: handshakes.",
                  ("code",), lambda: [((code,), number) for code, number in sorted(REFUSED.items())])
    metrics.read("custody_data_free_bytes", "What may still be written where the data directory is.", (),
                 lambda: [((), free_bytes(platform.data))] if platform.data.is_dir() else [])
    logs: dict[str, Sequencer] = {}
    if "log" in roles:
        logs["log"] = platform.log
    if "ca" in roles:
        logs["ct"] = platform.ct
    if logs:
        metrics.read("custody_log_entries", "Entries that a log's checkpoint covers.", ("log",),
                     lambda: [((name,), sequencer.log.size) for name, sequencer in logs.items()])
        metrics.read("custody_log_stopped", "Whether a log takes nothing until its disk does.", ("log",),
                     lambda: [((name,), sequencer.stopped is not None) for name, sequencer in logs.items()])
    if "registry" in roles:
        blobs = platform.registry.blobs
        metrics.read("custody_registry_unfinished_uploads", "Uploads with bytes on the disk.", (),
                     lambda: [((), len(blobs.drafts()))])
        metrics.read("custody_registry_quarantine_bytes", "Bytes of blobs that changed at rest.", (),
                     lambda: [((), blobs.quarantined()[1])])


def of_admission(metrics: Metrics, admission: Admission) -> None:
    """Of what reviews are judged by."""
    metrics.read("custody_policies", "Policies that reviews are judged by.", (),
                 lambda: [((), len(admission.policies.policies))])
    metrics.read("custody_admission_configuration_stale",
                 "Whether the API server asks by a webhook configuration that was made for other policies.",
                 ("webhook",), lambda: [((webhook,), not current) for webhook, current in admission.registered.items()])


def of_exemptions(metrics: Metrics, exempted: Exempted) -> None:
    """Of namespaces in which Gatekeeper's policies judge nothing."""
    metrics.read("custody_exempt_namespaces", "Namespaces that are exempt from Gatekeeper's policies.", (),
                 lambda: [((), len(exempted.names))])


def of_runtime(metrics: Metrics, events: RuntimeApp) -> None:
    """Of what was seen of what runs, and what was not."""
    assert events.run is not None  # it runs when it is measured
    runtime = events.run.runtime
    counted = runtime.counted
    for name, text, label, numbers in (
            ("events", "Events that were read.", "input", counted.events),
            ("events_malformed", "Lines and requests that are no events.", "input", counted.malformed),
            ("events_unjudged", "Events of whose values a rule could make nothing.", "input", counted.unjudged),
            ("events_repaired", "Events that were judged with what is no Unicode replaced.", "input", counted.repaired),
            ("events_backwards", "Events that are older than the one before.", "input", counted.backwards),
            ("events_doubled", "Events that came again.", "input", counted.doubled),
            ("requests_refused", "Requests with events that were asked to come again.", "input", counted.refused),
            ("alerts_folded", "Alerts that were told as a number.", "rule", counted.folded),
            ("alerts_below_priority", "Alerts of a priority that is not told.", "rule", counted.below),
            ("alerts_suppressed", "Alerts that a suppression explains.", "suppression", counted.suppressed)):
        metrics.count(f"custody_runtime_{name}", text, (label,), _of_one(numbers))
    if (rules := events.run.rules) is not None:
        metrics.reloads("rules", lambda: rules.failure)
    metrics.count("custody_runtime_alerts", "Alerts that were told.", ("rule", "priority"),
                  lambda: [*counted.alerts.items()])
    metrics.count("custody_runtime_events_lost", "Events that whoever saw them could not tell.", ("input", "kind"),
                  lambda: [*counted.lost.items()])
    metrics.read("custody_runtime_rules", "Rules that events are judged by.", (),
                 lambda: [((), runtime.engine.rules.count)])
    metrics.read("custody_runtime_alerts_waiting", "Alerts that outputs by HTTP have not taken yet.", ("output",),
                 lambda: [((posts.name,), posts.waiting()) for posts in runtime.posts])
    metrics.read("custody_runtime_inputs_stalled", "Inputs from which nothing comes.", (),
                 lambda: [((), len(runtime.watch.stalled))])
    metrics.read("custody_runtime_outputs_failing", "Outputs that take no alerts now.", (),
                 lambda: [((), len(runtime.delivery.failures))])


def _of_one(numbers: Counter[str]) -> Reading:
    return lambda: [((name,), number) for name, number in [*numbers.items()]]


def of_evidence(metrics: Metrics, remembered: Remembered) -> None:
    """Of what was gathered before."""
    metrics.count("custody_evidence_stale", "Times that older evidence counted, as a registry did not answer.", (),
                  lambda: [((), remembered.stale)])


def of_prefetch(metrics: Metrics, prefetch: Prefetch) -> None:
    """Of what is gathered before it is asked for."""
    metrics.count("custody_evidence_prefetched", "Images and pod templates that were looked at before their pods came.",
                  (), lambda: [((), prefetch.done)])
    metrics.count("custody_evidence_prefetch_dropped", "Those that were not, as too many waited.", (),
                  lambda: [((), prefetch.dropped)])


def of_summaries(metrics: Metrics, summaries: Summarizing) -> None:
    """Of verification summaries."""
    metrics.count("custody_summaries_written", "Summaries that were stored beside images.", (),
                  lambda: [((), summaries.written)])
    metrics.count("custody_summaries_failed", "Those that were not.", (), lambda: [((), summaries.failed)])


def of_decisions(metrics: Metrics, keeper: DecisionKeeper) -> None:
    """Of the history of what was decided."""
    metrics.count("custody_decisions_dropped", "Decisions that were made and not kept.", (),
                  lambda: [((), keeper.dropped)])


def of_controllers(metrics: Metrics, counts: Callable[[], Mapping[str, int]]) -> None:
    """Of what is done beside admission: scans, reports, events, generated and deleted objects."""
    metrics.count("custody_controllers", "What was done, dropped or failed beside admission.", ("work",),
                  lambda: [((name,), number) for name, number in counts().items()])
