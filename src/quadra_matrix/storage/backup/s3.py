"""Backups in a bucket of S3, or of what speaks its protocol; the address and the keys are boto3's own settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from quadra_matrix.errors import BackupMissing, TargetUnavailable
from quadra_matrix.storage.backup.target import NAME, Entry, entry_of

LIMITS = Config(connect_timeout=10, read_timeout=60, retries={"total_max_attempts": 4, "mode": "standard"})


class Bucket:
    """Objects below ``prefix`` of a bucket. An upload appears whole or not at all. Thread-safe."""

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self._bucket, self._prefix = bucket, prefix
        with self._translated():
            self._client = boto3.client("s3", config=LIMITS)

    def put(self, name: str, file: Path) -> None:
        """Upload the file, in parts when it is large."""
        with self._translated():
            self._client.upload_file(str(file), self._bucket, self._prefix + name)

    def fetch(self, name: str, into: Path) -> None:
        """Download the object."""
        with self._translated(name):
            self._client.download_file(self._bucket, self._prefix + self._known(name), str(into))

    def entries(self) -> list[Entry]:
        """Return every backup, oldest first."""
        with self._translated():
            pages = list(
                self._client.get_paginator("list_objects_v2").paginate(
                    Bucket=self._bucket, Prefix=self._prefix + "quadra-"
                )
            )
        objects = [found for page in pages for found in page.get("Contents", ())]
        found = [entry_of(each["Key"].removeprefix(self._prefix), each["Size"]) for each in objects]
        return sorted((entry for entry in found if entry), key=lambda entry: (entry.made, entry.name))

    def delete(self, name: str) -> None:
        """Remove the object."""
        with self._translated(name):
            key = self._prefix + self._known(name)
            self._client.head_object(Bucket=self._bucket, Key=key)  # S3 deletes what is not there without a word
            self._client.delete_object(Bucket=self._bucket, Key=key)

    @staticmethod
    def _known(name: str) -> str:
        if NAME.fullmatch(name) is None:
            raise BackupMissing(name)
        return name

    @contextmanager
    def _translated(self, name: str = "") -> Iterator[None]:
        try:
            yield
        except ClientError as refused:
            code = refused.response.get("Error", {}).get("Code", "")
            if name and code in {"404", "NoSuchKey"}:
                raise BackupMissing(name) from None
            raise TargetUnavailable(f"s3://{self._bucket}", code or "refused") from refused
        except (BotoCoreError, Boto3Error) as failed:
            raise TargetUnavailable(f"s3://{self._bucket}", str(failed)) from failed
