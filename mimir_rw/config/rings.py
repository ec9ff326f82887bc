"""Settings of the rings, and which instance of them this process is."""

from __future__ import annotations

from dataclasses import dataclass

from mimir_rw.config.kvstore import ADVANCED, ALONE, EXPERIMENTAL, PORT_MAX, KvStoreConfig
from mimir_rw.config.settings import Departure, duration, integer, names, section, switch, text


@dataclass(frozen=True, slots=True)
class RingConfig:
    """What every ring has: where it is kept, how its instances show that they live, which of them this process is."""

    kvstore: KvStoreConfig = section(KvStoreConfig)
    heartbeat_period: int = duration(
        "15s",
        flag=".heartbeat-period",
        help="How often this process shows in the ring that it works. 0 means never.",
        category=ADVANCED,
    )
    heartbeat_timeout: int = duration(
        "1m",
        flag=".heartbeat-timeout",
        help="An instance that has not shown itself for this long is passed over. 0 means never.",
        category=ADVANCED,
    )
    instance_id: str = text(
        "",
        flag=".instance-id",
        help="Name of this process in the ring; empty means common.instance_id, and else the host's name.",
        category=ADVANCED,
    )
    instance_interface_names: tuple[str, ...] = names(
        (),
        flag=".instance-interface-names",
        help="Network interfaces whose address is shown in the ring; empty means common.instance_interface_names, and "
        "else the first with a private address.",
        category=ADVANCED,
    )
    instance_port: int = integer(
        0,
        flag=".instance-port",
        help="Port shown in the ring; 0 means server.grpc_listen_port.",
        category=ADVANCED,
        high=PORT_MAX,
    )
    instance_addr: str = text(
        "",
        flag=".instance-addr",
        help="Address shown in the ring; empty means common.instance_addr, and else that of an interface.",
        category=ADVANCED,
    )
    instance_enable_ipv6: bool = switch(
        False, flag=".instance-enable-ipv6", help="Take an IPv6 address where there is one.", category=ADVANCED
    )


@dataclass(frozen=True, slots=True)
class ForgettingRingConfig(RingConfig):
    """A ring whose lost instances are forgotten by themselves."""

    auto_forget_unhealthy_periods: int = integer(
        10,
        flag=".auto-forget-unhealthy-periods",
        help="An instance is forgotten after this many heartbeat timeouts without a heartbeat. 0 means never.",
        category=ADVANCED,
    )


@dataclass(frozen=True, slots=True)
class IngesterRingConfig(RingConfig):
    replication_factor: int = integer(
        3,
        flag=".replication-factor",
        help="How many ingesters hold each series. It must be the same in all processes.",
        low=1,
        departure=Departure("3", ALONE, alone="1"),
    )
    zone_awareness_enabled: bool = switch(
        False,
        flag=".zone-awareness-enabled",
        help="Keep the copies of a series in different zones. It must be the same in all processes.",
    )
    excluded_zones: tuple[str, ...] = names(
        (),
        flag=".excluded-zones",
        help="Zones whose ingesters are left out of the ring. It must be the same in all processes.",
        category=ADVANCED,
    )
    shards_cached_max: int = integer(
        4096,
        flag=".shards-cached-max",
        help="Shards of tenants (limits.ingestion_tenant_shard_size) that are remembered between two changes of the "
        "ring; others are worked out for each push and query.",
        category=ADVANCED,
        low=1,
    )
    instance_availability_zone: str = text(
        "",
        flag=".instance-availability-zone",
        help="Zone of this ingester; empty means common.instance_availability_zone.",
    )
    num_tokens: int = integer(
        128, flag=".num-tokens", help="Tokens of this ingester.", category=ADVANCED, low=1, high=4096
    )
    tokens_file_path: str = text(
        "",
        flag=".tokens-file-path",
        help="File that the tokens are kept in over a restart; empty means that none are kept.",
    )
    token_generation_strategy: str = text(
        "random",
        flag=".token-generation-strategy",
        help="How tokens are chosen. The even spread needs instance names that end in a number.",
        category=EXPERIMENTAL,
        choices=("random", "spread-minimizing"),
    )
    spread_minimizing_join_ring_in_order: bool = switch(
        False,
        flag=".spread-minimizing-join-ring-in-order",
        help="With spread-minimizing tokens, join only after the instance with the next lower number.",
        category=EXPERIMENTAL,
    )
    spread_minimizing_zones: tuple[str, ...] = names(
        (),
        flag=".spread-minimizing-zones",
        help="All zones of ingesters, for spread-minimizing tokens. It must never change.",
        category=EXPERIMENTAL,
    )
    unregister_on_shutdown: bool = switch(
        True,
        flag=".unregister-on-shutdown",
        help="Leave the ring at a stop. Otherwise the ingester stays in it as LEAVING until it is back.",
        category=ADVANCED,
    )
    observe_period: int = duration(
        "0s",
        flag=".observe-period",
        help="How long new tokens are watched for conflicts before the ingester becomes ACTIVE.",
        category=ADVANCED,
    )
    min_ready_duration: int = duration(
        "0s",
        flag=".min-ready-duration",
        help="How long the ingester stays not ready after it could be.",
        category=ADVANCED,
        departure=Departure("15s", "readiness is checked by facts"),
    )
    final_sleep: int = duration(
        "0s",
        flag=".final-sleep",
        help="How long the process waits before it ends, so that its metrics are read once more.",
        category=ADVANCED,
    )


@dataclass(frozen=True, slots=True)
class CompactorRingConfig(ForgettingRingConfig):
    wait_stability_min_duration: int = duration(
        "0s",
        flag=".wait-stability-min-duration",
        help="How long the ring must not have changed before a compactor that starts looks for work. 0 does not wait.",
        category=ADVANCED,
    )
    wait_stability_max_duration: int = duration(
        "5m",
        flag=".wait-stability-max-duration",
        help="Longest wait for a ring that keeps changing.",
        category=ADVANCED,
    )


@dataclass(frozen=True, slots=True)
class OverridesExporterRingConfig(ForgettingRingConfig):
    enabled: bool = switch(
        False,
        flag=".enabled",
        help="Let one of several overrides-exporters export, the leader in their ring.",
    )


@dataclass(frozen=True, slots=True)
class StoreGatewayRingConfig(ForgettingRingConfig):
    auto_forget_enabled: bool = switch(
        True,
        flag=".auto-forget-enabled",
        help="Forget lost store-gateways; their blocks are given to others anyway.",
        category=ADVANCED,
    )
    replication_factor: int = integer(
        3,
        flag=".replication-factor",
        help="How many store-gateways serve each block. It must be the same in all processes.",
        category=ADVANCED,
        low=1,
        departure=Departure("3", ALONE, alone="1"),
    )
    zone_awareness_enabled: bool = switch(
        False,
        flag=".zone-awareness-enabled",
        help="Let store-gateways of different zones serve a block. It must be the same in all processes.",
    )
    instance_availability_zone: str = text(
        "",
        flag=".instance-availability-zone",
        help="Zone of this store-gateway; empty means common.instance_availability_zone.",
    )
    num_tokens: int = integer(
        512, flag=".num-tokens", help="Tokens of this store-gateway.", category=ADVANCED, low=1, high=4096
    )
    tokens_file_path: str = text(
        "",
        flag=".tokens-file-path",
        help="File that the tokens are kept in over a restart; empty means that none are kept.",
    )
    wait_stability_min_duration: int = duration(
        "0s",
        flag=".wait-stability-min-duration",
        help="How long the ring must have been the same before a store-gateway that starts looks for its blocks. "
        "0 means that it does not wait.",
        category=ADVANCED,
    )
    wait_stability_max_duration: int = duration(
        "5m",
        flag=".wait-stability-max-duration",
        help="Longest wait for a ring that stays the same.",
        category=ADVANCED,
    )
    unregister_on_shutdown: bool = switch(
        True,
        flag=".unregister-on-shutdown",
        help="Leave the ring at a stop. Otherwise the store-gateway stays in it as LEAVING until it is back, and its "
        "blocks are not given to others meanwhile.",
        category=ADVANCED,
    )
