"""boto3's client for one bucket, and what its errors mean here. Loaded only where S3 is configured: it is large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mimir_rw.model.errors import Conflict, DataDamaged, Internal, MimirError, Unavailable
from mimir_rw.objstore.contract import ObjectNotFound

PART_BYTES = 64 << 20
_PASSING_CODES = frozenset(
    (
        "SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "OperationAborted", "Throttling",
        "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "BadDigest", "IncompleteBody",
        "XAmzContentSHA256Mismatch", "NoSuchUpload",
        "ExistingObjectIsDirectory",
    )
)  # fmt: skip
"""Codes that may pass though their status is not 5xx. BadDigest and its kin: the body was damaged on its way.
ExistingObjectIsDirectory: what a gateway over a file system says when a directory goes away while it writes into it."""
_MISSING_CODES = frozenset(("NoSuchKey", "NotFound", "404"))


@dataclass(frozen=True, slots=True)
class S3Settings:
    """endpoint: with its scheme; None for Amazon's own of the region. ca: file of authorities. put: what every write
    says besides (encryption, storage class)."""

    bucket: str
    region: str
    endpoint: str | None = None
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    path_style: bool = True
    connections: int = 8
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 120.0
    part_bytes: int = PART_BYTES
    verify: bool = True
    ca: str = ""
    client_cert: tuple[str, str] | None = None
    content_md5: bool = False
    put: Mapping[str, str] = field(default_factory=dict)


def make_client(settings: S3Settings) -> Any:
    """Takes a tenth of a second and more: for a thread. The client is safe to use from several threads."""
    import boto3
    import urllib3
    from botocore.config import Config

    if not settings.verify:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # said for each request
    session = boto3.session.Session()
    return session.client(
        "s3",
        endpoint_url=settings.endpoint,
        region_name=settings.region,
        aws_access_key_id=settings.access_key_id or None,
        aws_secret_access_key=settings.secret_access_key or None,
        aws_session_token=settings.session_token or None,
        verify=(settings.ca or None) if settings.verify else False,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if settings.path_style else "virtual"},
            # Tries are ours (retry.py): one place that bounds and counts them.
            retries={"total_max_attempts": 1},
            max_pool_connections=settings.connections,
            connect_timeout=settings.connect_timeout_s,
            read_timeout=settings.read_timeout_s,
            client_cert=settings.client_cert,
            tcp_keepalive=True,
            # Servers that echo the checksum of a whole object break ranged reads of clients that check it.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def typed_error(error: Exception, key: str, bucket: str) -> Exception:
    """What an exception of botocore or urllib3 is in our family; others come back as they are."""
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    if isinstance(error, MimirError):
        return error
    if isinstance(error, ClientError):
        return _answered(error, key, bucket)
    if isinstance(error, BotoCoreError | HTTPError):
        text = f"object storage: {key or bucket}: {_one_line(error)}"
        return Unavailable(text) if _may_pass(error) else Internal(text)
    if isinstance(error, OSError):  # a bare socket's
        return Unavailable(f"object storage: {key or bucket}: {_one_line(error)}")
    return error


def _answered(error: Any, key: str, bucket: str) -> MimirError:
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = str(error.response.get("Error", {}).get("Code", ""))
    message = str(error.response.get("Error", {}).get("Message", ""))
    text = f"object storage: {key or bucket}: {_printable(f'{code} {message}'.strip())} (status {status})"
    if code == "NoSuchBucket":
        return Internal(f"object storage: bucket {bucket} does not exist")
    if code in _PASSING_CODES or status >= 500 or status == 429:
        return Unavailable(text)
    if code in _MISSING_CODES:
        return ObjectNotFound(key)
    if status == 416 or code == "InvalidRange":
        return DataDamaged(f"object {key} is shorter than was asked for")
    return Conflict(text) if status == 409 else Internal(text)


def _may_pass(error: Exception) -> bool:
    """Of botocore's own errors, those of the network and of answers that make no sense; not those of settings."""
    from botocore import exceptions as known

    if isinstance(error, known.SSLError):
        return "CERTIFICATE" not in str(error).upper()
    return not isinstance(
        error,
        known.NoCredentialsError | known.PartialCredentialsError | known.ParamValidationError | known.NoRegionError
        | known.InvalidRegionError | known.ProfileNotFound | known.InvalidConfigError | known.UnknownServiceError,
    )  # fmt: skip


def _one_line(error: Exception) -> str:
    return _printable(str(error) or type(error).__name__)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:500]
