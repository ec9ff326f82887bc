"""Object storage: what a place takes from common.storage, and what could not work."""

import pytest

from mimir_rw.config.errors import ConfigError
from mimir_rw.config.load import Loaded, load
from mimir_rw.config.render import effective_yaml
from mimir_rw.config.storage import S3Config

S3 = ("-blocks-storage.backend=s3", "-blocks-storage.s3.bucket-name=b", "-blocks-storage.s3.endpoint=s3:9000")


def loaded(yaml: str, *argv: str) -> Loaded:
    return load(("-config.file=m.yaml", *argv), environment={}, read=lambda name: yaml.encode())


COMMON = """
common:
  storage:
    backend: s3
    s3: {endpoint: "minio:9000", bucket_name: shared, access_key_id: k, secret_access_key: s, insecure: true}
"""


def test_blocks_are_where_common_storage_says() -> None:
    config = loaded(COMMON + "blocks_storage:\n  s3: {bucket_name: own}\n").config
    assert config.blocks_storage.backend == "s3"
    assert config.blocks_storage.s3 == S3Config(
        endpoint="minio:9000", bucket_name="own", access_key_id="k", secret_access_key="s", insecure=True
    )
    assert config.common.storage.s3.bucket_name == "shared"


def test_a_flag_for_all_wins_over_a_file_and_one_for_a_place_over_it() -> None:
    yaml = COMMON + "blocks_storage:\n  s3: {bucket_name: own}\n"
    assert loaded(yaml, "-common.storage.s3.bucket-name=flag").config.blocks_storage.s3.bucket_name == "flag"
    both = ("-common.storage.s3.bucket-name=flag", "-blocks-storage.s3.bucket-name=mine")
    assert loaded(yaml, *both).config.blocks_storage.s3.bucket_name == "mine"


def test_the_directory_is_mimirs_unless_told() -> None:
    assert loaded("").config.blocks_storage.filesystem.dir == "blocks"
    assert loaded("", "-common.storage.filesystem.dir=all").config.blocks_storage.filesystem.dir == "all"


def test_secrets_are_no_ones_business() -> None:
    shown = effective_yaml(loaded(COMMON.replace("secret_access_key: s,", "secret_access_key: hidden-one,")).config)
    assert "access_key_id: k" in shown
    assert "hidden-one" not in shown


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (S3[:1], "blocks_storage.s3.bucket_name (-blocks-storage.s3.bucket-name): must name the bucket"),
        (S3[:2], "blocks_storage.s3.endpoint (-blocks-storage.s3.endpoint): must be the server's host, or region"),
        ((*S3, "-blocks-storage.s3.endpoint=http://s3"), '"http://s3" is not host or host:port'),
        ((*S3, "-blocks-storage.s3.access-key-id=k"), "must be set together with secret_access_key"),
        ((*S3, "-blocks-storage.s3.part-size=1000"), "must be 0 or at least 5242880"),
        ((*S3, "-blocks-storage.s3.sse.type=SSE-KMS"), "must name a key for SSE-KMS"),
        ((*S3, "-blocks-storage.s3.sse.kms-encryption-context=[]"), "is not a JSON object of texts"),
        ((*S3, "-blocks-storage.s3.sse.type=none"), "must be one of"),
        ((*S3, "-blocks-storage.s3.signature-version=v2"), "is not available yet"),
        ((*S3, "-blocks-storage.s3.http.tls-cert-path=c"), "must be set together with tls_key_path"),
        ((*S3, "-blocks-storage.s3.sts-endpoint=x"), "is not available yet"),
        (("-blocks-storage.storage-prefix=a/b",), '"a/b" is not letters and digits only'),
        (("-blocks-storage.filesystem.dir=",), "must name a directory"),
        (("-blocks-storage.filesystem.dir=x/y", "-blocks-storage.tsdb.dir=x"), "must not be, hold or be in"),
        (("-blocks-storage.filesystem.dir=x", "-blocks-storage.tsdb.dir=x"), "must not be, hold or be in"),
        (("-blocks-storage.filesystem.dir=x", "-blocks-storage.tsdb.dir=x/../x/y"), "must not be, hold or be in"),
    ],
)
def test_what_could_not_work(argv, message) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded("", *argv)
    assert message in str(caught.value)


def test_what_has_no_meaning_is_a_warning() -> None:
    warnings = loaded(
        "", *S3, "-blocks-storage.s3.http.idle-conn-timeout=5s", "-common.storage.gcs.bucket-name=x"
    ).warnings
    assert len(warnings) == 2


def test_a_tenants_own_encryption_is_refused() -> None:
    with pytest.raises(ConfigError, match="s3_sse_type is not available"):
        loaded("limits: {s3_sse_type: SSE-S3}")
