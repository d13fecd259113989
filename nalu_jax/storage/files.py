"""Files that are whole or not there."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any


def write_atomic(path: Path, payload: bytes) -> None:
    """Writes a file so that it holds either its old content or all of the new, whenever the machine stops.

    Raises OSError with the path, the bytes needed and the bytes free if it cannot be written.
    """
    beside = path.with_name(f"{path.name}.tmp.{os.getpid()}")
    try:
        with open(beside, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        sync_folder(path.parent)
    except OSError as error:
        beside.unlink(missing_ok=True)
        free = shutil.disk_usage(path.parent).free if path.parent.is_dir() else 0
        raise OSError(
            error.errno, f"{error.strerror} writing {path} (needs {len(payload):,} bytes, {free:,} are free)"
        ) from error


def sha256(content: bytes) -> str:
    """The digest of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sealed(values: dict[str, Any]) -> bytes:
    """Plain values as JSON that ends with a digest of them."""
    return json.dumps(values | {"digest": digest_of(values)}, indent=2).encode()


def unsealed(content: bytes, *, needed: bool = True) -> dict[str, Any]:
    """The values of a sealed JSON. Raises ValueError if they are not those that were sealed.

    Where the seal is not ``needed``, values that have none are taken as they are.
    """
    values = json.loads(content)
    digest = values.pop("digest", None) if isinstance(values, dict) else None
    if digest is None and not needed:
        return values
    if digest is None:
        raise ValueError("it has no digest, as those of earlier versions")
    if digest != digest_of(values):
        raise ValueError("its digest differs")
    return values


def digest_of(values: dict[str, Any]) -> str:
    """The digest of plain values, in whatever order they are."""
    return sha256(json.dumps(values, sort_keys=True).encode())


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard(path: Path) -> None:
    """Removes whatever is at the path, if anything is."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def as_tuples(value: Any) -> Any:
    """Plain values with tuples in the place of lists, as config pages have them."""
    if isinstance(value, dict):
        return {name: as_tuples(part) for name, part in value.items()}
    return tuple(map(as_tuples, value)) if isinstance(value, list) else value
