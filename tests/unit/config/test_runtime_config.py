from __future__ import annotations

import asyncio
import textwrap

import pytest
import yaml

from mimir_rw.config.errors import ConfigError
from mimir_rw.config.limits import Limits
from mimir_rw.config.runtime_config import (
    MultiOverlay,
    RuntimeConfig,
    RuntimeSettings,
    decode_settings,
    read_settings,
    runtime_yaml,
    unread_settings,
)
from mimir_rw.config.settings import build
from mimir_rw.config.tree import Config
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.kit.service import ServiceState

CONFIG = build(Config, {("runtime_config", "file"): ("r.yaml",), ("limits", "request_rate"): 7.0})


def decode(*texts: str) -> RuntimeSettings:
    files = [(f"{'abc'[at]}.yaml", textwrap.dedent(text).encode()) for at, text in enumerate(texts)]
    return decode_settings(CONFIG, files)


def test_overrides_lie_over_the_configured_limits() -> None:
    settings = decode("""
        overrides:
          a: &small {ingestion_rate: 5, max_global_series_per_user: 10}
          b:
            <<: *small
            ingestion_rate: 6
          c:
        ingester_limits: {max_series: 9}
        distributor_limits: {max_inflight_push_requests: 8}
        """)
    assert settings.overrides["a"].ingestion_rate == 5
    assert settings.overrides["b"].ingestion_rate == 6
    assert settings.overrides["b"].max_global_series_per_user == 10
    assert settings.overrides["a"].request_rate == 7
    assert settings.overrides["c"] == CONFIG.limits
    assert settings.ingester_limits.max_series == 9
    assert settings.ingester_limits.max_inflight_push_requests == 30_000
    assert settings.distributor_limits.max_inflight_push_requests == 8
    assert len(settings.digest) == 64


def test_later_files_overlay_earlier_ones_key_by_key() -> None:
    settings = decode(
        "overrides: {a: {ingestion_rate: 5, request_rate: 1}, b: {request_rate: 2}}",
        "overrides: {a: {ingestion_rate: 6}}",
        "",
    )
    assert (settings.overrides["a"].ingestion_rate, settings.overrides["a"].request_rate) == (6, 1)
    assert settings.overrides["b"].request_rate == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("overides: {}", 'a.yaml:1: overides: unknown key, the nearest known key is "overrides"'),
        ("overrides:\n  a:\n    ingestion_rat: 1", "a.yaml:3: overrides.a.ingestion_rat: unknown key, the nearest kn"),
        ("overrides:\n  a: {ingestion_rate: x}", 'a.yaml:2: overrides.a.ingestion_rate: "x" is not a number'),
        ("overrides: {a/b: {}}", 'a.yaml:1: overrides: "a/b" is not a tenant'),
        ("overrides: {a: 5}", "a.yaml:1: overrides.a: must be a section of further keys"),
        ("overrides: {a: {ingestion_burst_factor: 0.1}}", "a.yaml:1: overrides.a.ingestion_burst_factor: must be 0"),
        ("overrides: {a: {accept_ha_samples: true}}", "a.yaml:1: overrides.a.accept_ha_samples is not available yet"),
        ("ingester_limits: {max_serie: 1}", "a.yaml:1: ingester_limits.max_serie: unknown key, the nearest known ke"),
    ],
)
def test_errors_are_one_line_naming_file_line_and_key(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decode(text)
    assert str(caught.value).startswith(message)


def test_what_is_not_here_yet_is_a_warning() -> None:
    warnings = decode("overrides: {a: {ruler_tenant_shard_size: 1}}").warnings
    assert warnings == (
        "a.yaml:1: overrides.a.ruler_tenant_shard_size is not available yet and is ignored (the ruler)",
    )


@pytest.mark.parametrize(
    ("text", "overlay"),
    [
        ("", MultiOverlay()),
        ("multi_kv_config:", MultiOverlay()),
        ("multi_kv_config: {mirror_enabled: false}", MultiOverlay(mirror_enabled=False)),
        ("multi_kv_config: {primary: etcd, mirror_enabled: true}", MultiOverlay("etcd", mirror_enabled=True)),
    ],
)
def test_roles_of_two_stores(text: str, overlay: MultiOverlay) -> None:
    settings = decode(text)
    assert settings.multi_kv == overlay
    assert ("multi_kv_config" in runtime_yaml(CONFIG, settings, changed_only=True)) is (overlay != MultiOverlay())


def test_roles_of_stores_that_do_not_exist() -> None:
    with pytest.raises(ConfigError, match=r"a\.yaml:1: multi_kv_config\.primary: .*redis"):
        decode("multi_kv_config: {primary: redis}")


def test_a_missing_file_is_named() -> None:
    def read(name: str) -> bytes:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(ConfigError, match=r"^r.yaml: Permission denied$"):
        read_settings(CONFIG, read)


def test_rendering() -> None:
    settings = decode("overrides: {a: {ingestion_rate: 5}}\ndistributor_limits: {max_ingestion_rate: 3}")
    changed = yaml.safe_load(runtime_yaml(CONFIG, settings, changed_only=True))
    assert changed == {"overrides": {"a": {"ingestion_rate": 5}}, "distributor_limits": {"max_ingestion_rate": 3}}
    whole = yaml.safe_load(runtime_yaml(CONFIG, settings, changed_only=False))
    assert whole["overrides"]["a"]["request_rate"] == 7
    assert runtime_yaml(CONFIG, unread_settings(CONFIG), changed_only=True) == ""


class _Files:
    def __init__(self, text: str) -> None:
        self.text = text

    def read(self, name: str) -> bytes:
        return self.text.encode()


def _service(files: _Files, limits: Limits, metrics: Metrics) -> RuntimeConfig:
    return RuntimeConfig(config=CONFIG, limits=limits, offload=InlineOffload(), metrics=metrics, read=files.read)


async def test_a_bad_edit_keeps_the_last_good_content() -> None:
    files, limits, metrics = _Files("overrides: {a: {ingestion_rate: 5}}"), Limits(defaults=CONFIG.limits), Metrics()
    service = _service(files, limits, metrics)
    life = asyncio.ensure_future(service.live())
    await service.wait_state(ServiceState.RUNNING)
    assert limits.for_tenant("a").ingestion_rate == 5
    first = service.settings
    await service.reload()
    assert service.settings is first
    files.text = "overrides: {a: {ingestion_rat: 6}}"
    await service.reload()
    assert service.settings is first
    assert limits.for_tenant("a").ingestion_rate == 5
    assert b"cortex_runtime_config_last_reload_successful 0.0" in metrics.render()
    files.text = "overrides: {a: {ingestion_rate: 6}}"
    await service.reload()
    assert limits.for_tenant("a").ingestion_rate == 6
    shown = metrics.render()
    assert b"cortex_runtime_config_last_reload_successful 1.0" in shown
    assert f'cortex_runtime_config_hash{{sha256="{service.settings.digest}"}} 1.0'.encode() in shown
    service.request_stop()
    await life


async def test_bad_content_at_start_fails_the_service() -> None:
    service = _service(_Files("x: 1"), Limits(defaults=CONFIG.limits), Metrics())
    await service.live()
    assert service.state is ServiceState.FAILED
    assert isinstance(service.failure, ConfigError)
