"""The table of Mimir's settings that are not here."""

from __future__ import annotations

import pytest

from mimir_rw.config.foreign import FOREIGN, Verdict, foreign_flag, foreign_key, refused_keys
from mimir_rw.config.settings import walk
from mimir_rw.config.tree import Config


def test_no_setting_of_ours_is_in_the_table() -> None:
    for placed in walk(Config):
        for length in range(1, len(placed.path) + 1):
            assert foreign_key(placed.path[:length]) is None, placed.key
        assert placed.flag is None or foreign_flag(placed.flag) is None, placed.flag


def test_refused_keys_are_exact() -> None:
    assert not [key for key, _ in refused_keys() if "*" in "".join(key)]
    assert {row.verdict for _, row in refused_keys()} == {Verdict.REFUSED}


def test_every_row_has_keys_and_flags() -> None:
    for row in FOREIGN:
        assert row.keys
        assert row.flags
        assert not any(name.startswith("-") for name in row.flags)


@pytest.mark.parametrize(
    "key",
    [
        "limits.promote_otel_resource_attributes",
        "limits.ingestion_artificial_delay",
        "limits.ingestion_partitions_tenant_shard_size",
        "limits.instant_queries_with_subquery_spin_off",
        "overrides_exporter.ring.wait_stability_min_duration",
        "memberlist.zone_aware_routing",
    ],
)
def test_what_configurations_in_use_hold_is_known(key: str) -> None:
    row = foreign_key(key.split("."))
    assert row is not None
    assert row.verdict is not Verdict.REFUSED


@pytest.mark.parametrize(
    "key", ["memberlist.join_member", "ingester.ring.replication_facto", "server.log_levl", "limits.ingestion_rat"]
)
def test_a_slip_in_a_setting_of_ours_is_not_taken_for_one_of_mimirs(key: str) -> None:
    assert foreign_key(key.split(".")) is None
