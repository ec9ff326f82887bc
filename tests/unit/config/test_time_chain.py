"""Settings between which a query could miss a sample are refused, with both named."""

import pytest

from mimir_rw.config.errors import ConfigError
from mimir_rw.config.load import load
from mimir_rw.config.tree import Config

STORE = "-blocks-storage.bucket-store"


def config(*argv: str) -> Config:
    return load(argv, environment={}, read=lambda name: b"").config


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["-querier.query-store-after=13h"], ["querier.query-store-after", "querier.query-ingesters-within"]),
        (["-querier.query-ingesters-within=6h"], ["querier.query-store-after", "querier.query-ingesters-within"]),
        (["-querier.query-store-after=9h"], ["ignore-blocks-within", "querier.query-store-after"]),
        (["-querier.query-store-after=0"], ["ignore-blocks-within", "querier.query-store-after"]),
        (
            [f"{STORE}.sync-interval=46m"],
            ["sync-interval", "compactor.cleanup-interval", "bucket-index.max-stale-period"],
        ),
        (["-blocks-storage.tsdb.retention-period=12h"], ["tsdb.retention-period", "querier.query-ingesters-within"]),
        (
            ["-blocks-storage.tsdb.retention-period=11h", "-querier.query-ingesters-within=0"],
            ["tsdb.retention-period", "querier.query-store-after"],
        ),
        (["-compactor.deletion-delay=1h"], ["compactor.deletion-delay", "ignore-deletion-marks-delay"]),
        (
            [f"{STORE}.bucket-index.max-stale-period=12h"],
            ["compactor.deletion-delay", "bucket-index.max-stale-period"],
        ),
        (
            [f"{STORE}.ignore-deletion-marks-while-querying-delay=2h"],
            ["ignore-deletion-marks-while-querying-delay", "ignore-deletion-marks-delay"],
        ),
        ([f"{STORE}.index-cache.backend=memcached"], ["index-cache.backend", "index-cache.memcached.addresses"]),
        ([f"{STORE}.chunks-cache.backend=memcached"], ["chunks-cache.backend", "chunks-cache.memcached.addresses"]),
    ],
    ids=lambda value: value[0],
)
def test_what_does_not_go_together(argv, names):
    with pytest.raises(ConfigError) as raised:
        config(*argv)
    for name in names:
        assert f"-{name}" in str(raised.value) or f".{name}" in str(raised.value)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["-querier.query-ingesters-within=0"],
        ["-querier.query-store-after=0", f"{STORE}.ignore-blocks-within=0"],
        ["-querier.query-store-after=1h", f"{STORE}.ignore-blocks-within=30m", "-querier.query-ingesters-within=2h"],
        [f"{STORE}.chunks-cache.backend=", f"{STORE}.index-cache.backend=memcached",
         f"{STORE}.index-cache.memcached.addresses=a:1,b:2"],
    ],
    ids=str,
)  # fmt: skip
def test_what_does(argv):
    config(*argv)
