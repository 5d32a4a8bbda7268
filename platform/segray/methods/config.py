"""The methods' own settings: one module per recipe, each class only its own fields."""

from typing import Annotated

import pydantic

from segray.methods.s4m.config import (
    S4M,
    Arp,
    CachedRefinement,
    PointRefinement,
    PseudoLabels,
    Refinement,
    StructuralDistillation,
    StudentRun,
    TeacherRun,
)
from segray.methods.supervised.config import Supervised
from segray.methods.unimatch.config import CutMix, UniMatch, ZeroShot

MethodConfig = Annotated[Supervised | S4M | UniMatch, pydantic.Field(discriminator="kind")]

__all__ = [
    "S4M",
    "Arp",
    "CachedRefinement",
    "CutMix",
    "PointRefinement",
    "PseudoLabels",
    "MethodConfig",
    "Refinement",
    "StructuralDistillation",
    "StudentRun",
    "Supervised",
    "TeacherRun",
    "UniMatch",
    "ZeroShot",
]
