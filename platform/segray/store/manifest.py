"""The manifest of a store, `store.json`: what decides its content, who made it when. Knows nothing of parts."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from segray import __version__
from segray.config.base import fingerprint
from segray.errors import SourceError, StoreError
from segray.storage import commits, files

FORMAT = 2
"""Of the rows: 2 added ids and attributes of masks."""
NAME = "store.json"


class StoreKind(StrEnum):
    """What the rows of a store hold."""

    MASKS = "masks"
    """Masks without classes."""
    OBJECTS = "objects"
    """Masks with classes, one per object."""
    LABEL_MAPS = "label_maps"
    """One mask per class, the background among them; none overlap."""

    @classmethod
    def of_content(cls, content: Mapping[str, Any]) -> Self:
        """Infer the kind of a store that does not say it: one without classes holds masks, background means maps."""
        classes = content.get("classes", ())
        if not classes:
            return cls("masks")
        return cls("label_maps" if classes[0] == "background" else "objects")


@dataclass(frozen=True, kw_only=True)
class StoreManifest:
    """What `store.json` says."""

    format: int
    stage: str
    kind: StoreKind
    """What the rows hold. No part of the fingerprint: the content decides it."""
    fingerprint: str
    content: Mapping[str, Any]
    """Everything that decides what the rows hold."""
    created: str
    """ISO 8601, UTC."""
    segray: str
    """The version that made the store."""
    price_per_second: float | None = None
    """What a second of one actor costs; None where nobody said."""

    @classmethod
    def new(
        cls, stage: str, content: Mapping[str, Any], price_per_second: float | None, kind: StoreKind | None = None
    ) -> Self:
        """The manifest of a store that is made now."""
        return cls(
            format=FORMAT,
            stage=stage,
            kind=kind or StoreKind.of_content(content),
            fingerprint=fingerprint(content),
            content=json.loads(json.dumps(content)),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            segray=__version__,
            price_per_second=price_per_second,
        )


def read(store_uri: str) -> StoreManifest:
    """The manifest of the store in this folder.

    Raises:
        StoreError: there is none, it is damaged, or of another format.
    """
    uri = files.join(store_uri, NAME)
    try:
        data = files.read_if_there(uri)
        if data is None:
            raise StoreError(
                f"{store_uri}: no store here (no {NAME}); give the folder of a store, `segray store ls FOLDER` lists"
                " those in FOLDER"
            )
        return _parse(data, uri)
    except SourceError as error:
        raise StoreError(str(error)) from error


def write(store_uri: str, manifest: StoreManifest) -> None:
    """Commit the manifest.

    Raises:
        StoreError: it could not be written.
    """
    text = json.dumps(asdict(manifest), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    commits.commit(files.join(store_uri, NAME), text.encode())


def _parse(data: bytes, uri: str) -> StoreManifest:
    try:
        values = json.loads(data)
        if values["format"] != FORMAT:
            remedy = "update it" if values["format"] > FORMAT else "label into another folder, or delete this store"
            raise StoreError(
                f"{uri}: format {values['format']}, written by segray {values['segray']}; this segray, {__version__}, "
                f"reads format {FORMAT}: {remedy}"
            )
        # Stores written before there was a kind do not have it.
        kind = StoreKind(values.get("kind") or StoreKind.of_content(values["content"]))
        manifest = StoreManifest(**{**values, "kind": kind})
        intact = fingerprint(manifest.content) == manifest.fingerprint
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"{uri}: damaged ({type(error).__name__}: {error}); {_REMEDY}") from error
    if not intact:
        raise StoreError(
            f"{uri}: damaged (its content does not give its fingerprint {manifest.fingerprint}); {_REMEDY}"
        )
    return manifest


_REMEDY = f"bring {NAME} back from a copy, or delete it and run the job that made the store again: the parts are found"
