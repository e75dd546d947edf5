"""A real S3 server of the tests' own (moto's), with one bucket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from callboard_shared.s3_store import S3Settings

BUCKET = "callboard-files"
URL = f"s3://{BUCKET}/some/prefix"


@contextmanager
def s3_server() -> Iterator[tuple[S3Settings, ThreadedMotoServer]]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    ).create_bucket(Bucket=BUCKET)
    settings = S3Settings(
        AWS_ACCESS_KEY_ID="a",
        AWS_SECRET_ACCESS_KEY=SecretStr("b"),
        AWS_ENDPOINT_URL=endpoint,
        AWS_REGION="us-east-1",
    )
    try:
        yield settings, server
    finally:
        server.stop()
