"""Where artifacts go: a folder, or S3. What is there under a digest already is right by definition."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from tenantry_operator.local.directory import write_atomically


class StoreError(OSError):
    """The store refuses, or does not answer."""


def put(uri: str, content: bytes) -> None:
    """Write a content-addressed object; writing it again changes nothing. Raises OSError.

    S3: endpoint, region and credentials come from boto3's usual chain, such as AWS_ENDPOINT_URL.
    """
    parts = urlsplit(uri)
    if parts.scheme == "file":
        path = Path(parts.path)
        if not path.exists():
            write_atomically(path, content)
        return
    try:
        _put_s3(parts.netloc, parts.path.lstrip("/"), content)
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise StoreError(
            "there are no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        ) from error
    except (BotoCoreError, ClientError) as error:
        raise StoreError(str(error)) from error


def _put_s3(bucket: str, key: str, content: bytes) -> None:
    import boto3
    from botocore.config import Config

    config = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 3, "mode": "standard"})
    client = boto3.client("s3", config=config)
    if "amazonaws.com" not in client.meta.endpoint_url:
        # Servers other than AWS rarely have a DNS name a bucket.
        client = boto3.client("s3", config=config.merge(Config(s3={"addressing_style": "path"})))
    client.put_object(Bucket=bucket, Key=key, Body=content)
