"""Label Studio's JSON export: regions that people drew or corrected, as masks.

Read are brush, bit mask, polygon, closed vector, rectangle and ellipse regions. Choices, texts, ratings, relations and
key points say nothing of masks: they are counted and passed over. A region that holds a shape of any other type is an
error, so that no mask is lost. A region's class is its first label. Of several annotations of a task the one marked as
ground truth counts, else the last updated; cancelled ones never do. An annotation without regions says that there is
nothing in the image. Classes are the labels in alphabetical order.

An image's id is the task's `data.image_id` (our own export writes it), else the image's path below the source's
folder: what follows the folder in its URI, `d=` in /data/local-files/?d=..., or an uploaded file's name without the
eight digits put before it; the whole URI where it lies elsewhere.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from segray.errors import ImageError, SourceError
from segray.formats.label_studio import LabelStudioSource, regions
from segray.formats.source import flag, name_problem, read_json, refuse, rows_by_name
from segray.formats.tally import OBJECT
from segray.images import decoding, kinds
from segray.masks.instances import UNLABELED, Instances
from segray.masks.provenance import Provenance
from segray.storage import files, names
from segray.store.rows import ImageRow
from segray.tally import Reason, Tally

UNFINISHED = Reason(
    "unfinished", "have no finished annotation and are left out; `predictions = true` takes what machines made"
)
SEVERAL = Reason("several", "have several annotations, of which one is used")

_UPLOADED = re.compile(r"^/data/upload/(?:.*/)?(?:[0-9a-f]{8}-)?([^/]+)$")
_LOCAL = "/data/local-files/"
_MOST_PIXELS = 1 << 32
"""What run lengths can count."""


class LabelStudioTasks:
    """The tasks of an export, one image each."""

    def __init__(self, config: LabelStudioSource) -> None:
        """Read and check the file.

        Raises:
            SourceError: not such an export; one line per problem.
        """
        self._folder, self._uri, self.tally = config.uri, config.annotations, Tally()
        document = read_json(self._uri)
        refuse(self._uri, _problems(document, needs_annotations=not config.predictions))
        self._outside = config.outside
        self._paths: dict[str, str] = {}
        self._annotations: dict[str, Mapping[str, Any] | None] = {}
        self._tasks: dict[str, str] = {}
        self._sizes: dict[str, tuple[int, int] | None] = {}
        problems: list[str] = []
        for index, task in enumerate(document):
            image_id, path = _place(task["data"], files.absolute(self._folder))
            if problem := name_problem(image_id):
                problems.append(f"[{index}]: its image {problem}")
            elif image_id in self._paths:
                problems.append(f"[{index}]: there is another task for image {image_id!r}")
            self._paths[image_id], self._annotations[image_id] = path, _chosen(task, predictions=config.predictions)
            self._tasks[image_id] = f"task {task.get('id', index)!r}"
            self._sizes[image_id] = _size(task["data"])
            self._count(task, image_id)
        refuse(self._uri, problems)
        labels = {label for found in self._annotations.values() if found for label in regions.labels(found["result"])}
        if config.predictions:
            labels.discard(OBJECT)  # what exports call masks without a class
        self.classes: tuple[str, ...] = tuple(sorted(labels))

    @property
    def annotated(self) -> Iterable[str]:
        """The images that the file speaks of: those with a finished annotation."""
        return [image_id for image_id, annotation in self._annotations.items() if annotation is not None]

    def rows(self) -> Iterator[ImageRow]:
        """See `Source`; in the file's order."""
        yield from rows_by_name(self._folder, self._paths, outside=self._outside)

    def instances(
        self,
        image_id: str,
        *,
        crowds: bool = False,  # noqa: ARG002 - Label Studio has no crowds
        size_hw: tuple[int, int] | None = None,
    ) -> Instances | None:
        """See `AnnotatedSource`; None for tasks that nobody has finished."""
        annotation = self._annotations.get(image_id)
        if annotation is None:
            return None
        where = f"{self._tasks[image_id]}, image {image_id!r}"
        try:
            found = regions.read(annotation["result"], self.tally.once(image_id), where)
        except ValueError as error:
            raise SourceError(f"{self._uri}: {where}: {error}") from error
        sizes = {region.size_hw for region in found}
        if len(sizes) > 1:
            raise SourceError(f"{self._uri}: {where}: regions of images of sizes {sorted(sizes)}")
        known = sizes.pop() if sizes else regions.size_of(annotation["result"]) or size_hw or self._sizes[image_id]
        return Instances.from_rle(
            [region.counts for region in found],
            known or self._probed(image_id),
            provenance=Provenance.GT,
            classes=[self.classes.index(one.label) if one.label in self.classes else UNLABELED for one in found],
            ids=[region.source_id for region in found],
            attributes=[region.attributes for region in found],
        )

    def _count(self, task: Mapping[str, Any], image_id: str) -> None:
        """Count a task as used or not."""
        finished = sum(not flag(one.get("was_cancelled")) for one in task.get("annotations") or [])
        if self._annotations[image_id] is None:
            self.tally.leave_out("tasks", UNFINISHED, self._tasks[image_id])
            return
        self.tally.use("tasks")
        if finished > 1:
            self.tally.note("tasks", SEVERAL, self._tasks[image_id])

    def _probed(self, image_id: str) -> tuple[int, int]:
        """The size that no region tells."""
        uri = names.resolve(files.absolute(self._folder), self._paths[image_id], outside=self._outside)
        try:
            return decoding.probe(files.read_bytes(uri))
        except ImageError as error:
            raise SourceError(f"{uri}: nothing is marked in it, and its size cannot be read ({error})") from error


def _problems(document: object, *, needs_annotations: bool) -> list[str]:
    if not isinstance(document, list):
        return ["a Label Studio export is a list of tasks; export as JSON"]
    problems = []
    for index, task in enumerate(document):
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            problems.append(f"[{index}]: a task has data and annotations; export as JSON, not as JSON-MIN")
            continue
        if needs_annotations and "annotations" not in task:
            hint = "; predictions = true reads its predictions" if "predictions" in task else ""
            problems.append(f"[{index}]: a task has annotations; export as JSON, not as JSON-MIN{hint}")
        read = ("annotations",) if needs_annotations else ("annotations", "predictions")
        problems += [
            f"[{index}].{key}: must be a list of objects, each with its result"
            for key in read
            if not _are_results(task.get(key, []))
        ]
    return problems


def _are_results(given: object) -> bool:
    return isinstance(given, list) and all(isinstance(one, dict) and _is_result(one.get("result")) for one in given)


def _is_result(result: object) -> bool:
    return isinstance(result, list) and all(
        isinstance(one, dict) and isinstance(one.get("value", {}), dict) for one in result
    )


def _chosen(task: Mapping[str, Any], *, predictions: bool) -> Mapping[str, Any] | None:
    done = [one for one in task.get("annotations", []) if not flag(one.get("was_cancelled"))]
    made = task.get("predictions", [])[:1] if predictions else []
    return max(done, key=_precedence, default=None) or (made[0] if made else None)


def _precedence(annotation: Mapping[str, Any]) -> tuple[bool, str, str]:
    """Return what orders a task's annotations; the last one counts."""
    updated, own = str(annotation.get("updated_at") or ""), str(annotation.get("id") or "")
    return bool(flag(annotation.get("ground_truth"))), updated, own


def _place(data: Mapping[str, Any], folder: str) -> tuple[str, str]:
    """A task's image id, and its path below the folder or whole URI."""
    texts = [value for value in data.values() if isinstance(value, str)]
    pictures = (text for text in texts if urlsplit(text).path.lower().endswith(kinds.SUFFIXES) or _LOCAL in text)
    image = data["image"] if isinstance(data.get("image"), str) else next(pictures, "")
    below = _below(image, folder)
    if isinstance(data.get("image_id"), str):
        return data["image_id"], below if files.scheme(below) else data["image_id"]
    return below, below


def _size(data: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the height and width that segray's own export wrote into a task's data."""
    height, width = data.get("height"), data.get("width")
    if not (isinstance(height, int) and isinstance(width, int)) or min(height, width) <= 0:
        return None
    return (height, width) if height * width < _MOST_PIXELS else None


def _below(image: str, folder: str) -> str:
    if image.startswith(f"{folder.rstrip('/')}/"):
        return image[len(folder.rstrip("/")) + 1 :]
    if _LOCAL in image:
        return unquote(parse_qs(urlsplit(image).query).get("d", [""])[-1]).lstrip("/")
    uploaded = _UPLOADED.match(image)
    return unquote(uploaded.group(1)) if uploaded else image
