"""From configuration to a bucket."""

import pytest

from mimir_rw.app.build.buckets import blocks_bucket, s3_settings
from mimir_rw.config.load import load
from mimir_rw.kit.clock import SystemClock
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.objstore.instrumented import BucketMetrics
from mimir_rw.objstore.s3 import S3Bucket

S3 = ("-blocks-storage.backend=s3", "-blocks-storage.s3.bucket-name=b")


def storage(*argv: str):
    return load(argv, environment={}, read=lambda name: b"").config.blocks_storage


def made(*argv: str):
    return blocks_bucket(
        storage(*argv), clock=SystemClock(), rng=seeded_rng(1), new_offload=lambda name, threads: InlineOffload(),
        metrics=BucketMetrics(Metrics(), clock=SystemClock()),
    )  # fmt: skip


async def test_a_directory_with_a_prefix(tmp_path):
    bucket = made(f"-blocks-storage.filesystem.dir={tmp_path}", "-blocks-storage.storage-prefix=mine")
    await bucket.upload("tenant/x", b"1")
    assert (tmp_path / "mine/tenant/x").read_bytes() == b"1"


def test_s3():
    assert isinstance(made(*S3, "-blocks-storage.s3.endpoint=h"), S3Bucket)


@pytest.mark.parametrize(
    ("flags", "endpoint", "region", "path_style"),
    [
        (["endpoint=minio:9000", "insecure=true"], "http://minio:9000", "us-east-1", True),
        (["endpoint=minio:9000", "bucket-lookup-type=virtual-hosted"], "https://minio:9000", "us-east-1", False),
        (["endpoint=s3.eu-west-1.amazonaws.com"], "https://s3.eu-west-1.amazonaws.com", "eu-west-1", False),
        (
            ["endpoint=s3.dualstack.us-west-2.amazonaws.com", "bucket-lookup-type=path"],
            "https://s3.dualstack.us-west-2.amazonaws.com",
            "us-west-2",
            True,
        ),
        (["endpoint=s3.amazonaws.com", "region=eu-north-1"], "https://s3.amazonaws.com", "eu-north-1", False),
        (["region=eu-west-3"], None, "eu-west-3", False),
    ],
)
def test_where_it_is(flags, endpoint, region, path_style):
    settings = s3_settings(storage(*S3, *(f"-blocks-storage.s3.{flag}" for flag in flags)).s3)
    assert (settings.endpoint, settings.region, settings.path_style) == (endpoint, region, path_style)


def test_what_writes_say():
    flags = [
        "endpoint=h", "sse.type=SSE-KMS", "sse.kms-key-id=k", 'sse.kms-encryption-context={"a": "b"}',
        "storage-class=STANDARD_IA",
    ]  # fmt: skip
    settings = s3_settings(storage(*S3, *(f"-blocks-storage.s3.{flag}" for flag in flags)).s3)
    assert settings.put == {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "k",
        "SSEKMSEncryptionContext": "eyJhIjoiYiJ9",
        "StorageClass": "STANDARD_IA",
    }
