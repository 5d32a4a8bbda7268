"""The vocabulary of `Instances.provenance`: who made a mask. All who write one take the word from here."""

from typing import Final


class Provenance:
    """A mask's maker; what follows a colon says which one, as in `sam:vit_h`."""

    GT: Final = "gt"
    """Ground truth: a person's annotation in a source."""
    CORRECTION: Final = "correction"
    """A person's correction of a machine's mask; the file follows."""
    SAM: Final = "sam"
    """A Segment Anything model; its name follows."""
    BOX: Final = "box"
    """A box, in the place of a model's mask that was doubted."""
    TEACHER: Final = "teacher"
    """The teacher of a training."""
    ZERO_SHOT: Final = "zero-shot"
    """A mask that CLIP gave its class."""
    CAM: Final = "cam"
    """Class activation maps."""
    VOTE: Final = "vote"
    """SEPL's vote of masks on a class map."""
    STUDENT: Final = "student"
    """A trained student."""
    UNKNOWN: Final = "unknown"
    """In pictures only: pixels under no mask."""
    WRONG: Final = "wrong"
    """In pictures only: pixels whose class is wrong."""
