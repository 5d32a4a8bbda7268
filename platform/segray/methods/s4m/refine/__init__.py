"""Better masks for a teacher's predictions: by points that prompt a SAM, from a store of masks, or none.

`build_refiner` makes the one that the settings name; it loads a SAM only for the one that asks it.
"""

import torch

from segray.config.model_kinds import SamConfig
from segray.methods.s4m.config import CachedRefinement, PointRefinement, Refinement
from segray.methods.s4m.refine.cached import CachedRefiner, Lookup
from segray.methods.s4m.refine.points import PointRefiner
from segray.methods.s4m.refine.refiner import NoRefiner, Refiner
from segray.sam.build import build_beside


def build_refiner(settings: Refinement | None, sam: SamConfig, device: torch.device, lookup: Lookup) -> Refiner:
    """Return the refiner that the settings name.

    Args:
        settings: none keeps the teacher's masks.
        sam: the model that points prompt; its device, where `auto`, becomes `device`.
        device: where the training runs.
        lookup: automatic masks by image id, for cached refinement.

    Raises:
        BackendError: the Sam's weights are missing or do not fit, or its device is not there.
    """
    match settings:
        case None:
            return NoRefiner()
        case PointRefinement():
            return PointRefiner(build_beside(sam, device), settings)
        case CachedRefinement():
            return CachedRefiner(lookup, settings)
