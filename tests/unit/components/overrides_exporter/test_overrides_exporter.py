import dataclasses

from mimir_rw.components.overrides_exporter.core import leader, shown_limits
from mimir_rw.components.overrides_exporter.service import OverridesExporter
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.config.tree import LIMIT_METRICS, OverridesExporterConfig
from mimir_rw.kit.metrics import Metrics


def exposition(*, leads: bool) -> str:
    metrics = Metrics()
    own = dataclasses.replace(TenantLimits(), ingestion_rate=5.0)
    OverridesExporter(
        enabled_metrics=("ingestion_rate", "ruler_max_rules_per_rule_group"),
        limits=Limits(defaults=TenantLimits(), overrides={"a": own}),
        leads=lambda: leads,
        metrics=metrics,
    )
    return metrics.render().decode()


def test_limits_are_shown_as_metrics():
    text = exposition(leads=True)
    assert 'cortex_limits_overrides{limit_name="ingestion_rate",user="a"} 5.0' in text
    assert 'cortex_limits_defaults{limit_name="ingestion_rate"} 250000.0' in text
    assert "ruler" not in text


def test_only_the_leader_shows_them():
    assert "ingestion_rate" not in exposition(leads=False)


def test_limits_to_show_are_numbers_of_ours():
    names = shown_limits(LIMIT_METRICS)
    assert set(names) <= {field.name for field in dataclasses.fields(TenantLimits)}
    assert all(isinstance(getattr(TenantLimits(), name), (int, float)) for name in names)
    assert "ingestion_rate" in shown_limits(OverridesExporterConfig().enabled_metrics)


def test_the_leader_owns_the_first_token():
    assert leader({}) is None
    assert leader({"a": [], "b": []}) is None
    assert leader({"a": [50], "b": [7, 90], "c": [8]}) == "b"
    assert leader({"a": [0], "b": [7]}) == "b"  # a token owns what lies before it
    assert leader({"a": [5], "b": [5]}) == "a"
