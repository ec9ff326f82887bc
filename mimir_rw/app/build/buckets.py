"""Object storage of the process: the bucket that the configuration names, made once and handed to each component."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mimir_rw.app.build.base import Base
from mimir_rw.config.storage import S3Config
from mimir_rw.config.tree import BlocksStorageConfig
from mimir_rw.kit.clock import Clock
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.offload import Offload
from mimir_rw.kit.rng import Rng
from mimir_rw.kit.service import Service
from mimir_rw.model.errors import Internal, MimirError
from mimir_rw.objstore.contract import Bucket
from mimir_rw.objstore.filesystem import FilesystemBucket
from mimir_rw.objstore.instrumented import BucketMetrics, InstrumentedBucket
from mimir_rw.objstore.prefix import PrefixBucket
from mimir_rw.objstore.retry import Retrier

if TYPE_CHECKING:
    from mimir_rw.objstore.s3_client import S3Settings

FILESYSTEM_THREADS = 4
CONNECTIONS = 8
REGION = "us-east-1"
_NOTHING = "__mimir_rw_looks__/"
"""Where nothing is: listing it shows that the store answers, and answers us."""
_AMAZON = re.compile(r"s3[.-](?:dualstack\.)?(?:([a-z0-9-]+)\.)?amazonaws\.com(?:\.cn)?(?::\d+)?")

NewOffload = Callable[[str, int], Offload]

_log = get_logger(component="bucket")


class Buckets(Service):
    """Every process that has blocks to write or read has it. It fails where the store refuses us, which no waiting
    mends; a store that does not answer is no reason not to start, because ingesters go on without it."""

    def __init__(self, base: Base) -> None:
        super().__init__("bucket")
        world = base.world
        self._storage = base.config.blocks_storage
        self._metrics = BucketMetrics(base.metrics, clock=base.clock)
        self._bucket = world.bucket or blocks_bucket(
            self._storage,
            clock=base.clock,
            rng=base.rng,
            new_offload=world.new_offload or (lambda name, threads: world.offload),
            metrics=self._metrics,
        )

    def blocks(self, component: str) -> Bucket:
        """The bucket of the blocks, as a component sees it: tenants are its directories."""
        return InstrumentedBucket(
            self._bucket, name=bucket_name(self._storage), component=component, metrics=self._metrics
        )

    async def start_up(self) -> None:
        self.tasks.spawn(self._look(), name="bucket-look", traced=False)

    async def shut_down(self) -> None:
        await self._bucket.close()

    async def _look(self) -> None:
        try:
            await self._bucket.list_dirs(_NOTHING)
        except Internal:
            raise
        except MimirError as error:
            _log.error("object storage does not answer; going on without it", err=str(error))


def bucket_name(storage: BlocksStorageConfig) -> str:
    """As shown in metrics and logs."""
    return storage.s3.bucket_name if storage.backend == "s3" else storage.filesystem.dir


def blocks_bucket(
    storage: BlocksStorageConfig, *, clock: Clock, rng: Rng, new_offload: NewOffload, metrics: BucketMetrics
) -> Bucket:
    """What `blocks_storage` names, with its prefix. Nothing is opened before the first call."""
    if storage.backend == "s3":
        from mimir_rw.objstore.s3 import S3Bucket  # here: its client is a fifth of a start's time and 30 MiB

        settings = s3_settings(storage.s3)
        retrier = Retrier(retries=storage.s3.max_retries, clock=clock, rng=rng, repeated=metrics.retries)
        bucket: Bucket = S3Bucket(settings, offload=new_offload("s3", settings.connections), retrier=retrier)
    else:
        offload = new_offload("bucket", FILESYSTEM_THREADS)
        bucket = FilesystemBucket(Path(storage.filesystem.dir), offload=offload, clock=clock)
    return PrefixBucket(bucket, storage.storage_prefix + "/") if storage.storage_prefix else bucket


def s3_settings(config: S3Config) -> S3Settings:
    from mimir_rw.objstore.s3_client import PART_BYTES, S3Settings

    amazon = _AMAZON.fullmatch(config.endpoint)
    at_amazon = amazon is not None or not config.endpoint
    lookup = config.bucket_lookup_type
    http = config.http
    return S3Settings(
        bucket=config.bucket_name,
        region=config.region or (amazon[1] if amazon is not None and amazon[1] else REGION),
        endpoint=f"{'http' if config.insecure else 'https'}://{config.endpoint}" if config.endpoint else None,
        access_key_id=config.access_key_id,
        secret_access_key=config.secret_access_key,
        session_token=config.session_token,
        path_style=lookup == "path" or (lookup == "auto" and not at_amazon),
        connections=http.max_connections_per_host or CONNECTIONS,
        connect_timeout_s=http.tls_handshake_timeout / 1000,
        read_timeout_s=http.response_header_timeout / 1000,
        part_bytes=config.part_size or PART_BYTES,
        verify=not http.insecure_skip_verify,
        ca=http.tls_ca_path,
        client_cert=(http.tls_cert_path, http.tls_key_path) if http.tls_cert_path else None,
        content_md5=config.send_content_md5,
        put=_put_parameters(config),
    )


def _put_parameters(config: S3Config) -> dict[str, str]:
    """What every write says of encryption and storage class."""
    found = {"StorageClass": config.storage_class} if config.storage_class else {}
    sse = config.sse
    if sse.type == "SSE-S3":
        found["ServerSideEncryption"] = "AES256"
    elif sse.type == "SSE-KMS":
        found["ServerSideEncryption"] = "aws:kms"
        found["SSEKMSKeyId"] = sse.kms_key_id
        if sse.kms_encryption_context:
            context = json.dumps(json.loads(sse.kms_encryption_context), separators=(",", ":"))
            found["SSEKMSEncryptionContext"] = b64encode(context.encode()).decode()
    return found
