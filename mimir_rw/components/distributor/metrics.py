"""The distributor's metrics, by Mimir's names."""

from __future__ import annotations

from collections.abc import Callable

from mimir_rw.kit.metrics import Counter, Family, Gauge, Histogram, Metrics

_USER = ("user",)
_VERSIONS = {1: "1.0", 2: "2.0"}
_INGESTER = ("ingester",)
_BREAKER_RESULTS = ("success", "error", "circuit_breaker_open")


class DistributorMetrics:
    """Families of the process. What is discarded is counted by the ingester in the same ones."""

    def __init__(
        self, *, metrics: Metrics, discarded_samples: Family[Counter], discarded_exemplars: Family[Counter]
    ) -> None:
        """discarded_…: labels reason and user."""
        self._metrics = metrics
        self.discarded_exemplars = discarded_exemplars
        self.discarded_samples = discarded_samples
        self.discarded_metadata = metrics.counters(
            "cortex_discarded_metadata_total", "Metadata entries that were discarded.", ("reason", "user")
        )
        self.discarded_requests = metrics.counters(
            "cortex_discarded_requests_total", "Push requests that were discarded.", ("reason", "user")
        )
        self.requests_in = metrics.counters(
            "cortex_distributor_requests_in_total", "Push requests as they came in.", ("user", "version")
        )
        self.samples_in = metrics.counters(
            "cortex_distributor_samples_in_total", "Samples as they came in, valid or not.", _USER
        )
        self.metadata_in = metrics.counters(
            "cortex_distributor_metadata_in_total", "Metadata entries as they came in, valid or not.", _USER
        )
        self.exemplars_in = metrics.counters(
            "cortex_distributor_exemplars_in_total", "Exemplars as they came in, valid or not.", _USER
        )
        self.received_requests = metrics.counters(
            "cortex_distributor_received_requests_total", "Push requests within the tenant's rates.", _USER
        )
        self.received_samples = metrics.counters(
            "cortex_distributor_received_samples_total", "Valid samples within the tenant's rates.", _USER
        )
        self.received_histograms = metrics.counters(
            "cortex_distributor_received_histogram_samples_total",
            "Valid native histograms within the tenant's rates; they are among the samples too.",
            _USER,
        )
        self.received_exemplars = metrics.counters(
            "cortex_distributor_received_exemplars_total", "Valid exemplars within the tenant's rates.", _USER
        )
        self.received_metadata = metrics.counters(
            "cortex_distributor_received_metadata_total", "Valid metadata entries within the tenant's rates.", _USER
        )
        self.newest_sample = metrics.gauges(
            "cortex_distributor_latest_seen_sample_timestamp_seconds", "Time of the newest sample seen.", _USER
        )
        self.inflight_requests = metrics.gauge(
            "cortex_distributor_inflight_push_requests", "Push requests being worked on."
        )
        self.inflight_bytes = metrics.gauge(
            "cortex_distributor_inflight_push_requests_bytes", "Unpacked bytes of the push requests being worked on."
        )
        self.known_series = metrics.gauges(
            "mimir_rw_distributor_known_series", "Label sets held whose validity and ring token are known.", _USER
        )

        self.appends = metrics.counters(
            "cortex_distributor_ingester_appends_total", "Parts of pushes sent to ingesters.", _INGESTER
        )
        self.append_failures = metrics.counters(
            "cortex_distributor_ingester_append_failures_total", "Messages to ingesters without an answer.", _INGESTER
        )
        self.append_seconds = metrics.histograms(
            "mimir_rw_distributor_ingester_message_seconds", "How long ingesters take to answer a message.", _INGESTER
        )
        self.queue_bytes = metrics.gauges(
            "mimir_rw_distributor_ingester_queue_bytes", "Bytes that wait for an ingester or its answer.", _INGESTER
        )
        self.queue_rows = metrics.gauges(
            "mimir_rw_distributor_ingester_queue_rows", "Series that wait for an ingester or its answer.", _INGESTER
        )
        self.queue_full = metrics.counters(
            "mimir_rw_distributor_ingester_queue_full_total",
            "Parts of pushes refused because too much waits for the ingester.",
            _INGESTER,
        )
        self.breaker_results = metrics.counters(
            "cortex_ingester_client_circuit_breaker_results_total",
            "Messages to ingesters by outcome, and those kept back because the circuit breaker was open.",
            ("ingester", "result"),
        )
        self.references = metrics.gauges(
            "mimir_rw_distributor_series_references", "Series sent without labels, as far as is known.", _INGESTER
        )
        self.unresolved = metrics.counters(
            "mimir_rw_distributor_unresolved_rows_total",
            "Series sent without labels that the ingester did not know.",
            _INGESTER,
        )

    def tenant(self, tenant: str) -> TenantMetrics:
        return TenantMetrics(self, tenant)

    def tenants_kept(self, read: Callable[[], int]) -> None:
        self._metrics.gauges_read(
            "mimir_rw_distributor_tenants",
            "Tenants whose rates and known series are kept.",
            (),
            lambda: [((), float(read()))],
        )

    def sender(self, instance_id: str) -> SenderMetrics:
        return SenderMetrics(self, instance_id)


class SenderMetrics:
    """One ingester's children, looked up once."""

    __slots__ = (
        "_families",
        "_id",
        "_queue_bytes",
        "_queue_rows",
        "_seconds",
        "appends",
        "breaker_failed",
        "breaker_open",
        "breaker_succeeded",
        "failures",
        "queue_full",
        "references",
        "unresolved",
    )

    def __init__(self, families: DistributorMetrics, instance_id: str) -> None:
        self._families = families
        self._id = instance_id
        self.appends: Counter = families.appends.labels(instance_id)
        self.failures: Counter = families.append_failures.labels(instance_id)
        self.queue_full: Counter = families.queue_full.labels(instance_id)
        self.references: Gauge = families.references.labels(instance_id)
        self.unresolved: Counter = families.unresolved.labels(instance_id)
        self.breaker_succeeded, self.breaker_failed, self.breaker_open = (
            families.breaker_results.labels(instance_id, result) for result in _BREAKER_RESULTS
        )
        self._seconds: Histogram = families.append_seconds.labels(instance_id)
        self._queue_bytes: Gauge = families.queue_bytes.labels(instance_id)
        self._queue_rows: Gauge = families.queue_rows.labels(instance_id)

    def queued(self, size: int, rows: int) -> None:
        self._queue_bytes.set(size)
        self._queue_rows.set(rows)

    def answered(self, parts: int, seconds: float) -> None:
        self.appends.inc(parts)
        self._seconds.observe(seconds)

    def remove(self) -> None:
        """Take the ingester out of every family."""
        f = self._families
        for family in (f.appends, f.append_failures, f.append_seconds, f.queue_bytes, f.queue_rows, f.queue_full,
                       f.references, f.unresolved):  # fmt: skip
            family.remove(self._id)
        for result in _BREAKER_RESULTS:
            f.breaker_results.remove(self._id, result)


class TenantMetrics:
    """One tenant's children, looked up once."""

    __slots__ = (
        "_families",
        "_reasons",
        "_tenant",
        "exemplars_in",
        "known_series",
        "metadata_in",
        "newest_sample",
        "received_exemplars",
        "received_histograms",
        "received_metadata",
        "received_requests",
        "received_samples",
        "requests_in",
        "samples_in",
    )

    def __init__(self, families: DistributorMetrics, tenant: str) -> None:
        self._families = families
        self._tenant = tenant
        self._reasons: dict[tuple[Family[Counter], str], Counter] = {}
        self.requests_in = {version: families.requests_in.labels(tenant, text) for version, text in _VERSIONS.items()}
        self.samples_in: Counter = families.samples_in.labels(tenant)
        self.metadata_in: Counter = families.metadata_in.labels(tenant)
        self.exemplars_in: Counter = families.exemplars_in.labels(tenant)
        self.received_requests: Counter = families.received_requests.labels(tenant)
        self.received_samples: Counter = families.received_samples.labels(tenant)
        self.received_histograms: Counter = families.received_histograms.labels(tenant)
        self.received_exemplars: Counter = families.received_exemplars.labels(tenant)
        self.received_metadata: Counter = families.received_metadata.labels(tenant)
        self.newest_sample: Gauge = families.newest_sample.labels(tenant)
        self.known_series: Gauge = families.known_series.labels(tenant)

    def discard(self, family: Family[Counter], reason: str, n: int) -> None:
        """Count n in `family`. reason: an error id or a reason of Mimir's, whose label form has underscores."""
        key = (family, reason)
        counter = self._reasons.get(key)
        if counter is None:
            counter = self._reasons[key] = family.labels(reason.replace("-", "_"), self._tenant)
        counter.inc(n)

    def remove(self) -> None:
        """Take the tenant out of every family."""
        families = self._families
        for text in _VERSIONS.values():
            families.requests_in.remove(self._tenant, text)
        for family in (families.samples_in, families.metadata_in, families.exemplars_in, families.received_requests,
                       families.received_samples, families.received_histograms, families.received_exemplars,
                       families.received_metadata):  # fmt: skip
            family.remove(self._tenant)
        families.newest_sample.remove(self._tenant)
        families.known_series.remove(self._tenant)
        for family, reason in self._reasons:
            family.remove(reason.replace("-", "_"), self._tenant)
