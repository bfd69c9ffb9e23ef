"""The S3 store: one object an image, in a bucket of any S3-compatible service, through boto3.

An object appears whole when its upload ends: boto3 sends large files in parts and completes or aborts them.
boto3 is an optional dependency (`pip install gureum[s3]`) and is imported when such a store is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gureum.glance.drivers.base import StoreFault
from gureum.glance.drivers.file import FileStore
from gureum.glance.drivers.spool import SpooledStore

_CHUNK_BYTES = 1 << 20
_MISSING = ("404", "NoSuchKey", "NotFound")


class MissingPackage(Exception):
    """boto3 is not installed."""


class S3Store(SpooledStore):
    """Bytes of images in a bucket."""

    kind = "s3"

    def __init__(
        self,
        spool: FileStore,
        name: str = "s3",
        *,
        host: str,
        access_key: str,
        secret_key: str,
        bucket: str,
        region: str = "",
        url_format: str = "auto",
        create_bucket: bool = False,
        large_object_size_mib: int = 100,
        part_size_mib: int = 10,
        threads: int = 10,
        ca_file: str = "",
        description: str = "",
        weight: int = 0,
    ) -> None:
        super().__init__(spool, name, description, weight)
        try:
            import boto3
            import botocore.config
            import botocore.exceptions
            from boto3.s3.transfer import TransferConfig
        except ImportError as error:
            raise MissingPackage("an s3 store needs boto3: pip install 'gureum[s3]'") from error
        self._bucket = bucket
        self._host = host if "://" in host else f"https://{host}"
        self._errors: Any = botocore.exceptions
        settings = botocore.config.Config(
            s3={"addressing_style": url_format},
            retries={"max_attempts": 3, "mode": "standard"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            max_pool_connections=max(10, threads),
        )
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=self._host,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name=region or "us-east-1",
            config=settings,
            verify=ca_file or None,
        )
        self._transfer = TransferConfig(
            multipart_threshold=large_object_size_mib << 20,
            multipart_chunksize=part_size_mib << 20,
            max_concurrency=threads,
        )
        if create_bucket:
            self._make_bucket()

    def _make_bucket(self) -> None:
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except self._errors.ClientError as error:
            if _code(error) not in _MISSING:
                raise StoreFault(f"S3: {error}") from error
            self._client.create_bucket(Bucket=self._bucket)
        except self._errors.BotoCoreError as error:
            raise StoreFault(f"S3: {error}") from error

    def put(self, key: str, path: Path) -> None:
        import boto3.exceptions

        try:
            self._client.upload_file(str(path), self._bucket, key, Config=self._transfer)
        except (
            self._errors.ClientError,
            self._errors.BotoCoreError,
            boto3.exceptions.Boto3Error,
        ) as error:
            raise StoreFault(f"S3: {error}") from error

    def url(self, key: str) -> str:
        scheme, _, host = self._host.partition("://")
        prefix = "s3+https" if scheme == "https" else "s3"
        return f"{prefix}://{host.rstrip('/')}/{self._bucket}/{key}"

    def _call(self, verb: str, **values: Any) -> Any:
        try:
            return getattr(self._client, verb)(Bucket=self._bucket, **values)
        except self._errors.ClientError as error:
            if _code(error) in _MISSING:
                raise KeyError(values.get("Key")) from None
            raise StoreFault(f"S3: {error}") from error
        except self._errors.BotoCoreError as error:
            raise StoreFault(f"S3: {error}") from error

    def size(self, key: str) -> int | None:
        try:
            return int(self._call("head_object", Key=key)["ContentLength"])
        except KeyError:
            return None

    def stream(self, key: str, offset: int, length: int | None) -> Iterator[bytes]:
        if length == 0:
            return iter(())
        values: dict[str, Any] = {"Key": key}
        if offset or length is not None:
            last = "" if length is None else str(offset + length - 1)
            values["Range"] = f"bytes={offset}-{last}"
        return self._chunks(self._call("get_object", **values)["Body"])

    def _chunks(self, body: Any) -> Iterator[bytes]:
        try:
            while chunk := body.read(_CHUNK_BYTES):
                yield chunk
        except (self._errors.BotoCoreError, OSError) as error:
            raise StoreFault(f"S3: {error}") from error
        finally:
            body.close()

    def delete(self, key: str) -> bool:
        there = self.size(key) is not None
        self._call("delete_object", Key=key)
        return there

    def close(self) -> None:
        self._client.close()

    def properties(self) -> dict[str, str]:
        return {"s3_store_host": self._host, "s3_store_bucket": self._bucket}


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
