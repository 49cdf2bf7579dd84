"""Uploads in parts that were never finished: no objects, and unseen by every listing of them, but paid for."""

from __future__ import annotations

from didact.remote.prefix import Prefix


def unfinished_uploads(prefix: Prefix) -> dict[str, str]:
    """Ids of uploads below a prefix, by the name that the object would have got. Only S3 has such."""
    if prefix.protocol not in ("s3", "s3a"):
        return {}
    filesystem = prefix.filesystem
    bucket, root, _ = filesystem.split_path(prefix.url)
    start = f"{root}/" if root else ""
    uploads = filesystem.list_multipart_uploads(bucket)
    return {one["Key"][len(start) :]: one["UploadId"] for one in uploads if one["Key"].startswith(start)}


def abort_upload(prefix: Prefix, name: str, upload: str) -> None:
    """Give up an upload and what came of it."""
    filesystem = prefix.filesystem
    bucket, key, _ = filesystem.split_path(prefix.address(name))
    filesystem.abort_mpu(bucket, key, upload)
