"""Metrics of the process: cheap to count, exposed in Prometheus' text format.

A counter, gauge or histogram is a slotted object whose attributes are changed directly (`c.value += n`) or by a
short method; prometheus-client only sees them when /metrics is rendered. They are changed on the event loop only and
read from the rendering thread, which may see a histogram between two of its fields: harmless for a scrape.

Labelled metrics are families: ask `labels(...)` once for a child and keep it where it is hot.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0)
"""Seconds; those of Mimir's request durations."""
SIZE_BUCKETS = tuple(float(1 << 20) * m for m in (1, 2.5, 5, 10, 25, 50, 100, 250))
"""Bytes; those of Mimir's message sizes."""

LabelValues = tuple[str, ...]
Reading = Iterable[tuple[LabelValues, float]]
"""Label values and the value, for a metric that is read when asked for."""


class Counter:
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        self.value += amount


class Gauge:
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def set(self, value: float) -> None:
        self.value = value

    def inc(self, amount: float = 1.0) -> None:
        self.value += amount

    def dec(self, amount: float = 1.0) -> None:
        self.value -= amount


class Histogram:
    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = DURATION_BUCKETS) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        """Observations per bucket, not cumulative; the last one is above every bound."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


C = TypeVar("C")


class Family(Generic[C]):
    """Children of one metric by their label values. Children stay until removed: label values must be bounded."""

    __slots__ = ("_children", "_make", "label_names")

    def __init__(self, label_names: Sequence[str], make: Callable[[], C]) -> None:
        self.label_names = tuple(label_names)
        self._make = make
        self._children: dict[LabelValues, C] = {}

    def labels(self, *values: str) -> C:
        """The child of these label values, in the order of the label names; made when first asked for."""
        child = self._children.get(values)
        if child is None:
            assert len(values) == len(self.label_names), f"{len(self.label_names)} label values wanted, got {values}"
            child = self._children[values] = self._make()
        return child

    def remove(self, *values: str) -> None:
        """Drop the child, if it is there (a tenant that went away)."""
        self._children.pop(values, None)

    def items(self) -> list[tuple[LabelValues, C]]:
        return list(self._children.items())


class Metrics:
    """All metrics of one process. A name is registered once."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._sources: dict[str, Callable[[], Metric]] = {}
        self._registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """For prometheus-client."""
        return [source() for source in list(self._sources.values())]

    def counter(self, name: str, help: str) -> Counter:
        family = self.counters(name, help, ())
        return family.labels()

    def counters(self, name: str, help: str, label_names: Sequence[str]) -> Family[Counter]:
        family = Family(label_names, Counter)
        self._scalars(name, help, "counter", family.label_names, lambda: _values(family))
        return family

    def gauge(self, name: str, help: str) -> Gauge:
        return self.gauges(name, help, ()).labels()

    def gauges(self, name: str, help: str, label_names: Sequence[str]) -> Family[Gauge]:
        family = Family(label_names, Gauge)
        self._scalars(name, help, "gauge", family.label_names, lambda: _values(family))
        return family

    def histogram(self, name: str, help: str, bounds: Sequence[float] = DURATION_BUCKETS) -> Histogram:
        return self.histograms(name, help, (), bounds).labels()

    def histograms(
        self, name: str, help: str, label_names: Sequence[str], bounds: Sequence[float] = DURATION_BUCKETS
    ) -> Family[Histogram]:
        family = Family(label_names, lambda: Histogram(bounds))
        self._add(name, lambda: _histogram_metric(name, help, family))
        return family

    def gauges_read(self, name: str, help: str, label_names: Sequence[str], read: Callable[[], Reading]) -> None:
        """A gauge family whose values are asked for at each scrape. `read` runs in the rendering thread."""
        self._scalars(name, help, "gauge", tuple(label_names), read)

    def counters_read(self, name: str, help: str, label_names: Sequence[str], read: Callable[[], Reading]) -> None:
        self._scalars(name, help, "counter", tuple(label_names), read)

    def watch_process(self) -> None:
        """Add the process_* metrics of this process."""
        self._registry.register(ProcessCollector(registry=None))

    def render(self) -> bytes:
        """Prometheus' text format, version 0.0.4. Takes milliseconds: call it in a thread."""
        return generate_latest(self._registry)

    def _scalars(self, name: str, help: str, kind: str, label_names: LabelValues, read: Callable[[], Reading]) -> None:
        def source() -> Metric:
            metric = Metric(_base_name(name, kind), help, kind)
            for values, value in read():
                metric.add_sample(name, dict(zip(label_names, values, strict=True)), value)
            return metric

        self._add(name, source)

    def _add(self, name: str, source: Callable[[], Metric]) -> None:
        assert name not in self._sources, f"metric {name} is registered twice"
        self._sources[name] = source


def _base_name(name: str, kind: str) -> str:
    """prometheus-client keeps counters without the suffix and adds it again when it writes the header."""
    if kind != "counter":
        return name
    assert name.endswith("_total"), f"counter {name} must end in _total"
    return name.removesuffix("_total")


def _values(family: Family[Counter] | Family[Gauge]) -> Reading:
    children: list[tuple[LabelValues, Counter | Gauge]] = [*family.items()]
    return [(values, child.value) for values, child in children]


def _histogram_metric(name: str, help: str, family: Family[Histogram]) -> Metric:
    metric = Metric(name, help, "histogram")
    for values, child in family.items():
        labels = dict(zip(family.label_names, values, strict=True))
        total = 0
        for bound, count in zip((*map(_bound_text, child.bounds), "+Inf"), list(child.counts), strict=True):
            total += count
            metric.add_sample(name + "_bucket", {**labels, "le": bound}, total)
        metric.add_sample(name + "_count", labels, total)
        metric.add_sample(name + "_sum", labels, child.sum)
    return metric


def _bound_text(bound: float) -> str:
    """As client_golang writes it, because dashboards match le="0.1" and le="1"."""
    text: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
    return text.removesuffix(".0")
