"""What is S3's alone: TLS, where the bucket's name stands, what writes say besides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from mimir_rw.model.errors import Internal, Unavailable
from mimir_rw.objstore.s3_client import S3Settings, make_client
from tests.contract.buckets import s3_bucket
from tests.s3_servers import moto, new_bucket, start_strict, wait_until_it_listens


class TlsServer:
    def __init__(self, place: Path) -> None:
        authority = trustme.CA()
        server, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("client@example.org")
        self.ca, self.cert, self.key = place / "ca.pem", place / "cert.pem", place / "key.pem"
        self.client = (str(place / "client.pem"), str(place / "client.key"))
        authority.cert_pem.write_to_path(self.ca)
        server.private_key_pem.write_to_path(self.key)
        server.cert_chain_pems[0].write_to_path(self.cert)
        client.private_key_pem.write_to_path(self.client[1])
        client.cert_chain_pems[0].write_to_path(self.client[0])
        self.process, self.endpoint = start_strict(place, "--cert", str(self.cert), "--key", str(self.key))
        (place / "objects" / "blocks").mkdir()


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[TlsServer]:
    server = TlsServer(tmp_path)
    yield server
    server.process.kill()
    server.process.wait()


async def test_tls(tls: TlsServer) -> None:
    await wait_until_it_listens(tls.endpoint)
    url = f"https://{tls.endpoint}"
    for more in ({"ca": str(tls.ca)}, {"verify": False}, {"ca": str(tls.ca), "client_cert": tls.client}):
        bucket, offload = s3_bucket(tls.endpoint, "blocks", url=url, **more)
        await bucket.upload("key", b"x")
        assert await bucket.get("key") == b"x"
        offload.close()


async def test_a_certificate_of_nobody(tls: TlsServer) -> None:
    await wait_until_it_listens(tls.endpoint)
    bucket, offload = s3_bucket(tls.endpoint, "blocks", url=f"https://{tls.endpoint}")
    with pytest.raises(Internal, match=r"CERTIFICATE|certificate"):
        await bucket.get("key")
    offload.close()


async def test_http_where_tls_is_spoken(tls: TlsServer) -> None:
    await wait_until_it_listens(tls.endpoint)
    bucket, offload = s3_bucket(tls.endpoint, "blocks", retries=0)
    with pytest.raises((Unavailable, Internal)):
        await bucket.get("key")
    offload.close()


@pytest.mark.parametrize(
    ("path_style", "start"), [(True, "http://minio:9000/blocks/a/key?"), (False, "http://blocks.minio:9000/a/key?")]
)
def test_where_the_name_stands(path_style: bool, start: str) -> None:
    settings = S3Settings(
        bucket="blocks", region="us-east-1", endpoint="http://minio:9000", access_key_id="k", secret_access_key="s",
        path_style=path_style,
    )  # fmt: skip
    url = make_client(settings).generate_presigned_url("get_object", Params={"Bucket": "blocks", "Key": "a/key"})
    assert url.startswith(start)


async def test_what_writes_say_besides(tmp_path: Path) -> None:
    name = await new_bucket(moto())
    put = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "some-key", "StorageClass": "STANDARD_IA"}
    bucket, offload = s3_bucket(moto(), name, put=put)
    (tmp_path / "big").write_bytes(b"x" * (6 << 20))
    await bucket.upload("small", b"x")
    await bucket.upload_file("big", tmp_path / "big")
    for key in ("small", "big"):
        head = bucket._client.head_object(Bucket=name, Key=key)
        assert (head["ServerSideEncryption"], head["StorageClass"]) == ("aws:kms", "STANDARD_IA")
    offload.close()
