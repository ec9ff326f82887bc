"""The runtime file: limits that change while the process runs.

One or more YAML files, read again every `runtime_config.period`. Later files overlay earlier ones key by key. What they
say is decoded as a whole to a `RuntimeSettings`, and only a whole good one replaces the one in force: after a bad edit
the last good content stays, the log names file, line and key, and
`cortex_runtime_config_last_reload_successful` is 0.

Everything here changes on the event loop; files are read and decoded through Offload, since thousands of tenants take
tens of milliseconds.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from mimir_rw.config.consistency import limits_problem
from mimir_rw.config.decode import Gathered, Place, entries_of, gather_section, unknown_key
from mimir_rw.config.document import Node, read_document
from mimir_rw.config.errors import ConfigError, quoted
from mimir_rw.config.kvstore import MultiRuntimeConfig
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.config.load import read_file
from mimir_rw.config.render import dump, section_document
from mimir_rw.config.settings import Value
from mimir_rw.config.tree import Config, DistributorInstanceLimits, IngesterInstanceLimits
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import Offload
from mimir_rw.kit.service import Service
from mimir_rw.model.errors import BadRequest, Unavailable
from mimir_rw.model.tenant import validate_tenant

Read = Callable[[str], bytes]

_KEYS = ("overrides", "ingester_limits", "distributor_limits", "multi_kv_config")


@dataclass(frozen=True, slots=True)
class MultiOverlay:
    """Roles of the stores of rings that are in two (`multi`). None: as configured."""

    primary: str | None = None
    mirror_enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """What the runtime files say, overlaid on the configuration. `digest` is the SHA-256 of their bytes in hex."""

    overrides: Mapping[str, TenantLimits] = field(default_factory=dict)
    ingester_limits: IngesterInstanceLimits = field(default_factory=IngesterInstanceLimits)
    distributor_limits: DistributorInstanceLimits = field(default_factory=DistributorInstanceLimits)
    multi_kv: MultiOverlay = field(default_factory=MultiOverlay)
    digest: str = ""
    warnings: tuple[str, ...] = ()


def unread_settings(config: Config) -> RuntimeSettings:
    """The settings without any runtime file."""
    return RuntimeSettings(
        ingester_limits=config.ingester.instance_limits, distributor_limits=config.distributor.instance_limits
    )


def read_settings(config: Config, read: Read, *, known: str = "") -> RuntimeSettings | None:
    """Read and decode the configured files; None when their digest is `known`. Raises ConfigError; blocks."""
    files = [(name, read_file(name, read)) for name in config.runtime_config.file]
    return None if known and _digest(files) == known else decode_settings(config, files)


def decode_settings(config: Config, files: Sequence[tuple[str, bytes]]) -> RuntimeSettings:
    """files: name and content, later ones overlay earlier ones. Raises ConfigError."""
    gathered = Gathered()
    tenants: dict[str, None] = {}
    for name, data in files:
        node = read_document(data, name=name)
        if node is not None:
            _gather_file(node, Place(name), gathered, tenants)
    overlays = _by_owner(gathered.values)
    overrides = {}
    for tenant in tenants:
        overrides[tenant] = replace(config.limits, **overlays.get(("overrides", tenant), {}))
        _check_limits(tenant, overrides[tenant], gathered)
    return RuntimeSettings(
        overrides=overrides,
        ingester_limits=replace(config.ingester.instance_limits, **overlays.get(("ingester_limits",), {})),
        distributor_limits=replace(config.distributor.instance_limits, **overlays.get(("distributor_limits",), {})),
        multi_kv=MultiOverlay(**overlays.get(("multi_kv_config",), {})),
        digest=_digest(files),
        warnings=tuple(gathered.warnings),
    )


def runtime_yaml(config: Config, settings: RuntimeSettings, *, changed_only: bool) -> str:
    """What holds at run time, as the runtime file would say it.

    `changed_only` leaves out what the configuration says as well.
    """
    compared = config if changed_only else None
    overrides = {
        tenant: section_document(limits, changed_from=compared and compared.limits)
        for tenant, limits in settings.overrides.items()
    }
    document = {
        "overrides": overrides,
        "ingester_limits": section_document(
            settings.ingester_limits, changed_from=compared and compared.ingester.instance_limits
        ),
        "distributor_limits": section_document(
            settings.distributor_limits, changed_from=compared and compared.distributor.instance_limits
        ),
    }
    multi = {"primary": settings.multi_kv.primary, "mirror_enabled": settings.multi_kv.mirror_enabled}
    document["multi_kv_config"] = {key: value for key, value in multi.items() if value is not None}
    return dump({key: value for key, value in document.items() if value})


class RuntimeConfig(Service):
    """Keeps `settings` and the overrides of `limits` in step with the runtime files. Starting fails with ConfigError
    when the files are bad at start."""

    def __init__(self, *, config: Config, limits: Limits, offload: Offload, metrics: Metrics, read: Read) -> None:
        super().__init__("runtime-config")
        self._config = config
        self._limits = limits
        self._offload = offload
        self._read = read
        self._log = get_logger(component="runtime-config")
        self._last_problem = ""
        self._successful = metrics.gauge(
            "cortex_runtime_config_last_reload_successful",
            "Whether the last reading of the runtime files succeeded.",
        )
        metrics.gauges_read(
            "cortex_runtime_config_hash",
            "1 for the SHA-256 of the runtime files in force.",
            ("sha256",),
            lambda: [((self.settings.digest,), 1.0)] if self.settings.digest else [],
        )
        self.settings = unread_settings(config)
        self._listeners: list[Callable[[RuntimeSettings], None]] = []

    def follow(self, listener: Callable[[RuntimeSettings], None]) -> None:
        """Call `listener` with the settings in force, now and whenever they have changed."""
        self._listeners.append(listener)
        listener(self.settings)

    @property
    def enabled(self) -> bool:
        """Whether any runtime file is configured."""
        return bool(self._config.runtime_config.file)

    async def start_up(self) -> None:
        self._successful.set(1)
        if self.enabled:
            await self._read_and_adopt()
            self.tasks.spawn(self._keep_reloading(), name="reload runtime config")

    async def reload(self) -> None:
        """Read the files once and adopt them if they are good and new."""
        try:
            changed = await self._read_and_adopt()
        except ConfigError as error:
            self._successful.set(0)
            if str(error) != self._last_problem:
                self._log.error("runtime configuration is bad, keeping the last good one", err=str(error))
            self._last_problem = str(error)
            return
        except Unavailable:
            return  # every thread is busy; the next period tries again
        self._successful.set(1)
        self._last_problem = ""
        if changed:
            settings = self.settings
            self._log.info("runtime configuration reloaded", tenants=len(settings.overrides), sha256=settings.digest)

    async def _read_and_adopt(self) -> bool:
        """Whether there was something new. Raises ConfigError and changes nothing when the files are bad."""
        read = partial(read_settings, self._config, self._read, known=self.settings.digest)
        settings = await self._offload.run(read)
        if settings is None:
            return False
        self.settings = settings
        self._limits.replace_overrides(settings.overrides)
        for listener in self._listeners:
            listener(settings)
        for warning in settings.warnings:
            self._log.warning(warning)
        return True

    async def _keep_reloading(self) -> None:
        while True:
            await asyncio.sleep(self._config.runtime_config.period / 1000)
            await self.reload()


def _digest(files: Sequence[tuple[str, bytes]]) -> str:
    return hashlib.sha256(b"\0".join(data for _, data in files)).hexdigest()


def _gather_file(node: Node, place: Place, into: Gathered, tenants: dict[str, None]) -> None:
    sections: dict[str, type[Any]] = {
        "ingester_limits": IngesterInstanceLimits,
        "distributor_limits": DistributorInstanceLimits,
        "multi_kv_config": MultiRuntimeConfig,
    }
    for entry in entries_of(node, place):
        here = place.below(entry.key)
        if entry.key == "overrides":
            _gather_overrides(entry.value, here, into, tenants)
        elif entry.key in sections:
            gather_section(entry.value, sections[entry.key], here, into)
        else:
            raise unknown_key(entry, here, [*_KEYS])


def _gather_overrides(node: Node, place: Place, into: Gathered, tenants: dict[str, None]) -> None:
    for entry in entries_of(node, place):
        try:
            validate_tenant(entry.key)
        except BadRequest as error:
            raise place.error(entry.line, f"{quoted(entry.key)} is not a tenant: {error}") from None
        tenants[entry.key] = None
        here = Place(place.file, (*place.path, entry.key), ("limits",))
        gather_section(entry.value, TenantLimits, here, into)


def _by_owner(values: Mapping[tuple[str, ...], Value]) -> dict[tuple[str, ...], dict[str, Any]]:
    """All sections of the runtime file are flat: group the values by the section that they are in."""
    grouped: dict[tuple[str, ...], dict[str, Any]] = {}
    for path, value in values.items():
        grouped.setdefault(path[:-1], {})[path[-1]] = value
    return grouped


def _check_limits(tenant: str, limits: TenantLimits, gathered: Gathered) -> None:
    problem = limits_problem(limits)
    if problem is not None:
        key, message = problem
        path = ("overrides", tenant, key)
        origin = f"{gathered.origins[path]}: " if path in gathered.origins else ""
        raise ConfigError(f"{origin}{'.'.join(path)}: {message}")
