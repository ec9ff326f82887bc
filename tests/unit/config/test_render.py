from __future__ import annotations

import dataclasses
from pathlib import Path

import yaml

from mimir_rw.config.docs import PLACE, reference
from mimir_rw.config.limits import TenantLimits
from mimir_rw.config.load import load
from mimir_rw.config.render import MASK, defaults_yaml, diff_yaml, effective_yaml, limits_document
from mimir_rw.config.settings import build, walk
from mimir_rw.config.tree import Config, departures


def test_secrets_are_masked_everywhere() -> None:
    config = build(Config, {("server", "http_tls_config", "key"): "very-secret"})
    for shown in (effective_yaml(config), diff_yaml(config)):
        assert "very-secret" not in shown
        assert yaml.safe_load(shown)["server"]["http_tls_config"]["key"] == MASK
    assert MASK not in defaults_yaml()


def test_diff_shows_changes_as_yaml_and_departures_as_comments() -> None:
    config = build(Config, {("limits", "ingestion_rate"): 5.0, ("memberlist", "join_members"): ("a",)})
    shown = diff_yaml(config)
    assert yaml.safe_load(shown) == {"limits": {"ingestion_rate": 5}, "memberlist": {"join_members": ["a"]}}
    comments = [line for line in shown.splitlines() if line.startswith("#   ")]
    everywhere = [placed for placed, departure in departures() if departure.alone is None]
    assert len(comments) == len(everywhere) - 1
    assert "#   limits.out_of_order_time_window: 5m (Mimir: 0s)" in comments


def test_diff_of_a_process_that_is_alone_shows_what_holds_only_there() -> None:
    shown = diff_yaml(load([], environment={}, read=lambda name: b"").config)
    assert yaml.safe_load(shown) is None
    assert "#   ingester.ring.replication_factor: 1 (Mimir: 3)\n" in shown
    assert "#   distributor.ring.kvstore.store: inmemory (Mimir: memberlist)\n" in shown


def test_limits_of_a_tenant_for_json() -> None:
    shown = limits_document(dataclasses.replace(TenantLimits(), ingestion_rate=0.5))
    assert shown["ingestion_rate"] == 0.5
    assert shown["max_global_series_per_user"] == 1_500_000
    assert shown["creation_grace_period"] == "10m"


def test_the_reference_page_is_up_to_date() -> None:
    page = Path(__file__).parents[3] / PLACE
    assert page.read_text(encoding="utf-8") == reference(), "run `make docs`"


def test_the_reference_page_has_every_setting() -> None:
    page = reference()
    for placed in walk(Config):
        assert f"`-{placed.flag}`" in page or placed.flag is None
    for placed, departure in departures():
        assert f"| `{placed.key}` |" in page
        assert departure.why in page
