"""Settings of object storage: which kind, and how it is reached. One class, for `common.storage` and for each place
that takes what it is not told from there (tree.py)."""

from __future__ import annotations

from dataclasses import dataclass

from mimir_rw.config.settings import Category, duration, integer, section, switch, text

ADVANCED = Category.ADVANCED
EXPERIMENTAL = Category.EXPERIMENTAL

BACKENDS = ("filesystem", "s3", "gcs", "azure", "swift")
MISSING_BACKENDS = ("gcs", "azure", "swift")
"""Mimir's other kinds."""
STORAGE_CLASSES = (
    "", "STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "DEEP_ARCHIVE",
    "OUTPOSTS", "GLACIER_IR", "SNOW", "EXPRESS_ONEZONE", "FSX_OPENZFS",
)  # fmt: skip
PART_BYTES_MIN = 5 << 20
"""S3's own bound of all parts but the last."""


@dataclass(frozen=True, slots=True)
class S3SseConfig:
    """Encryption by the store."""

    type: str = text(
        "", flag=".type", help="Server side encryption; empty means what the bucket does.",
        choices=("", "SSE-KMS", "SSE-S3"),
    )  # fmt: skip
    kms_key_id: str = text("", flag=".kms-key-id", help="Key that SSE-KMS encrypts with.")
    kms_encryption_context: str = text(
        "", flag=".kms-encryption-context", help="Encryption context of SSE-KMS, a JSON object of texts."
    )


@dataclass(frozen=True, slots=True)
class S3HttpConfig:
    response_header_timeout: int = duration(
        "2m",
        flag=".http.response-header-timeout",
        help="How long to wait for an answer, or for its next bytes.",
        low="1ms",
        category=ADVANCED,
    )
    tls_handshake_timeout: int = duration(
        "10s", flag=".tls-handshake-timeout", help="How long to wait for a connection.", low="1ms", category=ADVANCED
    )
    max_connections_per_host: int = integer(
        0,
        flag=".max-connections-per-host",
        help="Calls to the object store at a time, each with a thread and a connection; further ones wait. 0 means 8.",
        high=256,
        category=ADVANCED,
    )
    insecure_skip_verify: bool = switch(
        False, flag=".http.insecure-skip-verify", help="Do not check the server certificate.", category=ADVANCED
    )
    tls_ca_path: str = text(
        "",
        flag=".http.tls-ca-path",
        help="File with the certificates (PEM) of the authorities that sign the server certificate; empty means the "
        "host's.",
        category=ADVANCED,
    )
    tls_cert_path: str = text(
        "", flag=".http.tls-cert-path", help="File with the client certificate (PEM).", category=ADVANCED
    )
    tls_key_path: str = text(
        "", flag=".http.tls-key-path", help="File with the key of the client certificate (PEM).", category=ADVANCED
    )


@dataclass(frozen=True, slots=True)
class S3Config:
    endpoint: str = text(
        "",
        flag=".endpoint",
        help="host or host:port of the S3 server; empty means Amazon's for the region.",
    )
    region: str = text("", flag=".region", help="Region; empty means that of the endpoint's name, else us-east-1.")
    bucket_name: str = text("", flag=".bucket-name", help="Name of the bucket.")
    secret_access_key: str = text("", flag=".secret-access-key", help="Secret access key.", secret=True)
    access_key_id: str = text(
        "",
        flag=".access-key-id",
        help="Access key ID; empty means what the environment, AWS' own files or the instance provide.",
    )
    session_token: str = text("", flag=".session-token", help="Session token of temporary keys.", secret=True)
    insecure: bool = switch(False, flag=".insecure", help="Use http instead of https.", category=ADVANCED)
    bucket_lookup_type: str = text(
        "auto",
        flag=".bucket-lookup-type",
        help="Whether the bucket is part of the path or of the host's name; auto: of the name at Amazon, else of the "
        "path.",
        choices=("auto", "path", "virtual-hosted"),
        category=ADVANCED,
    )
    storage_class: str = text(
        "", flag=".storage-class", help="Storage class of what is written.", choices=STORAGE_CLASSES,
        category=EXPERIMENTAL,
    )  # fmt: skip
    part_size: int = integer(
        0,
        flag=".part-size",
        help="Files above this size are uploaded in parts of it; 0 means 64 MiB. At least 5 MiB.",
        category=EXPERIMENTAL,
    )
    send_content_md5: bool = switch(
        False, flag=".send-content-md5", help="Send Content-MD5 with what is written.", category=EXPERIMENTAL
    )
    max_retries: int = integer(
        5,
        flag=".max-retries",
        help="How often a call that failed for a reason that may pass is tried again.",
        high=100,
        category=ADVANCED,
    )
    sse: S3SseConfig = section(S3SseConfig, flag_prefix=".sse")
    http: S3HttpConfig = section(S3HttpConfig)


@dataclass(frozen=True, slots=True)
class CommonFilesystemConfig:
    dir: str = text("", flag=".dir", help="Directory that is the bucket.")


@dataclass(frozen=True, slots=True)
class BlocksFilesystemConfig:
    dir: str = text("blocks", flag=".dir", help="Directory that is the bucket; all processes must share it.")


@dataclass(frozen=True, slots=True)
class CommonStorageConfig:
    """What every object storage of the process has in common: a setting of a single one wins over it."""

    backend: str = text(
        "filesystem",
        flag=".backend",
        help="Kind of object storage: filesystem or s3.",
        choices=BACKENDS,
    )
    s3: S3Config = section(S3Config, flag_prefix=".s3")
    filesystem: CommonFilesystemConfig = section(CommonFilesystemConfig, flag_prefix=".filesystem")
