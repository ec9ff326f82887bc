"""Settings of the process itself: which one it is, what it listens on, its logs and its runtime files."""

from __future__ import annotations

from dataclasses import dataclass

from mimir_rw.config.kvstore import ADVANCED, PORT_MAX, TLS_VERSIONS
from mimir_rw.config.settings import Departure, duration, integer, names, section, text
from mimir_rw.config.storage import CommonStorageConfig


@dataclass(frozen=True, slots=True)
class CommonConfig:
    """Which process of the cluster this is. Each ring may say otherwise for itself."""

    instance_id: str = text("", flag="common.instance-id", help="Name of this process; empty means the host's name.")
    instance_addr: str = text(
        "",
        flag="common.instance-addr",
        help="Address that other processes reach this one at; empty means that of a network interface.",
    )
    instance_interface_names: tuple[str, ...] = names(
        (),
        flag="common.instance-interface-names",
        help="Network interfaces whose address is used; empty means the first with a private address.",
        category=ADVANCED,
    )
    instance_availability_zone: str = text(
        "", flag="common.instance-availability-zone", help="Zone that this process runs in."
    )
    storage: CommonStorageConfig = section(CommonStorageConfig, flag_prefix="common.storage")


@dataclass(frozen=True, slots=True)
class ApiConfig:
    prometheus_http_prefix: str = text(
        "/prometheus",
        flag="http.prometheus-http-prefix",
        help="URL path under which the Prometheus API is served.",
        category=ADVANCED,
    )


@dataclass(frozen=True, slots=True)
class ServerTlsConfig:
    """TLS of a listener. It is on when a certificate and its key are given, inline or as files."""

    cert: str = text("", flag=None, help="Server certificate (PEM).")
    key: str = text("", flag=None, help="Key of the server certificate (PEM).", secret=True)
    client_ca: str = text("", flag=None, help="Certificates (PEM) of the authorities that sign client certificates.")
    cert_file: str = text("", flag="-cert-path", help="File with the server certificate (PEM).", category=ADVANCED)
    key_file: str = text(
        "", flag="-key-path", help="File with the key of the server certificate (PEM).", category=ADVANCED
    )
    client_auth_type: str = text(
        "",
        flag="-client-auth",
        help="Whether clients show a certificate, and whether it must be signed by the client authority.",
        category=ADVANCED,
        choices=(
            "",
            "NoClientCert",
            "RequestClientCert",
            "RequireAnyClientCert",
            "VerifyClientCertIfGiven",
            "RequireAndVerifyClientCert",
        ),
    )
    client_ca_file: str = text(
        "",
        flag="-ca-path",
        help="File with the certificates (PEM) of the authorities that sign client certificates.",
        category=ADVANCED,
    )


@dataclass(frozen=True, slots=True)
class ServerConfig:
    http_listen_address: str = text(
        "", flag="server.http-listen-address", help="Address the HTTP server listens on; empty means all."
    )
    http_listen_port: int = integer(
        8080, flag="server.http-listen-port", help="Port the HTTP server listens on; 0 picks a free one.", high=PORT_MAX
    )
    grpc_listen_address: str = text(
        "", flag="server.grpc-listen-address", help="Address to listen on for calls between processes; empty means all."
    )
    grpc_listen_port: int = integer(
        9095,
        flag="server.grpc-listen-port",
        help="Port for calls between processes, in the role that gRPC has in Mimir; one process alone does not use it.",
        high=PORT_MAX,
    )
    grpc_server_max_recv_msg_size: int = integer(
        100 << 20,
        flag="server.grpc-max-recv-msg-size-bytes",
        help="Largest message taken from another process, in bytes.",
        category=ADVANCED,
        low=1 << 16,
        high=1 << 30,
    )
    grpc_server_max_concurrent_streams: int = integer(
        1000,
        flag="server.grpc-max-concurrent-streams",
        help="Calls on one connection at a time; further ones are refused.",
        category=ADVANCED,
        low=1,
        departure=Departure("100", "every pair of processes shares one connection for all calls"),
    )
    grpc_listen_conn_limit: int = integer(
        4096,
        flag="server.grpc-conn-limit",
        help="Connections of other processes at a time; further ones are closed.",
        category=ADVANCED,
        low=1,
        departure=Departure("0", "each process of the cluster needs one"),
    )
    rpc_max_inflight_bytes: int = integer(
        1 << 30,
        flag="server.rpc-max-inflight-bytes",
        help="Bytes of other processes' requests that are worked on at a time; further ones are refused.",
        category=ADVANCED,
        low=1 << 20,
    )
    rpc_protocol_max: int = integer(
        3,
        flag="server.rpc-protocol-max",
        help="Highest version of the protocol between processes to speak; lower it before going back to an older one.",
        category=ADVANCED,
        low=1,
        high=3,
    )
    tls_cipher_suites: tuple[str, ...] = names(
        (), flag="server.tls-cipher-suites", help="TLS cipher suites to offer; empty means a sound choice."
    )
    tls_min_version: str = text(
        "",
        flag="server.tls-min-version",
        help="Lowest TLS version to accept; empty means TLS 1.2.",
        choices=TLS_VERSIONS,
    )
    http_tls_config: ServerTlsConfig = section(ServerTlsConfig, flag_prefix="server.http-tls")
    grpc_tls_config: ServerTlsConfig = section(ServerTlsConfig, flag_prefix="server.grpc-tls")
    graceful_shutdown_timeout: int = duration(
        "30s",
        flag="server.graceful-shutdown-timeout",
        help="How long running requests may take to end at shutdown.",
        category=ADVANCED,
    )
    http_server_read_timeout: int = duration(
        "30s",
        flag="server.http-read-timeout",
        help="Longest time for reading a whole HTTP request.",
        category=ADVANCED,
    )
    http_server_idle_timeout: int = duration(
        "2m",
        flag="server.http-idle-timeout",
        help="How long an HTTP connection may wait for its next request.",
        category=ADVANCED,
    )
    log_format: str = text("logfmt", flag="log.format", help="Format of log lines.", choices=("logfmt", "json"))
    log_level: str = text(
        "info", flag="log.level", help="Lowest level that is logged.", choices=("debug", "info", "warn", "error")
    )
    pid_file: str = text("", flag="server.pid-file", help="File that holds the process id while the process runs.")
    http_path_prefix: str = text(
        "", flag="server.path-prefix", help="URL path under which everything is served.", category=ADVANCED
    )


@dataclass(frozen=True, slots=True)
class RuntimeConfigConfig:
    period: int = duration(
        "10s",
        flag="runtime-config.reload-period",
        help="How often the runtime files are looked at for changes.",
        category=ADVANCED,
        low="100ms",
    )
    file: tuple[str, ...] = names(
        (),
        flag="runtime-config.file",
        help="YAML files that are read again while running; later ones overlay earlier ones.",
    )
