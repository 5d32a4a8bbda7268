"""A stage: work on images that leaves a store behind. What the runner needs to know of one, and no more."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from segray.store import StoreKind
from segray.store.rows import ImageRow, LabeledRow
from segray.tally import Tally

Label = Callable[[Sequence[ImageRow]], Iterator[LabeledRow]]
"""Labels a part's images, one row each, in any order; an image that cannot be used becomes a row with an error."""


class Stage(Protocol):
    """Picklable, so that it reaches the actors; whatever is heavy is made by `build`, inside them."""

    @property
    def name(self) -> str:
        """What its stores are called: `masks` in `masks-0123456789ab`."""
        ...

    @property
    def kind(self) -> StoreKind:
        """What the rows of its stores hold."""
        ...

    @property
    def content(self) -> Mapping[str, Any]:
        """All that decides what it leaves: settings, weights, code version. Names the store."""
        ...

    def build(self) -> Label:
        """Load models, start threads; called once in each actor."""
        ...


@runtime_checkable
class CountsInputs(Protocol):
    """A stage that reads more than the images that it labels, such as tags, and counts it."""

    @property
    def tallies(self) -> Mapping[str, Tally]:
        """What was read, by the key of the config that names it, and what of it was left out and why."""
        ...
