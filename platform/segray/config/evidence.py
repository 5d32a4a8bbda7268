"""Which class a region has: SEPL's vote."""

import pydantic

from segray.config.base import config
from segray.config.sam import Unit


@config
class VoteRule:
    """How masks and a class map become voted labels (methods.md section 8)."""

    compat: bool = False
    """The published code's sequential rule, in which the lowest class id wins a mask; else each mask stands for the
    class it overlaps most, as the paper says."""
    max_image_share: Unit = 1.0
    """Largest share of the image that a mask may have to be taken because it covers a class's region; 1: any."""

    @pydantic.model_validator(mode="after")
    def _capless(self) -> "VoteRule":
        if self.compat and self.max_image_share < 1:
            raise ValueError("compat is the published rule, which has no max_image_share: leave one of them out")
        return self
