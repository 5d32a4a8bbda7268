"""The methods' own settings: one module per recipe, each class only its own fields."""

from typing import Annotated

import pydantic

from segray.config.recipes.s4m import (
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
from segray.config.recipes.supervised import Supervised
from segray.config.recipes.unimatch import CutMix, UniMatch, ZeroShot

Recipe = Annotated[Supervised | S4M | UniMatch, pydantic.Field(discriminator="kind")]

__all__ = [
    "S4M",
    "Arp",
    "CachedRefinement",
    "CutMix",
    "PointRefinement",
    "PseudoLabels",
    "Recipe",
    "Refinement",
    "StructuralDistillation",
    "StudentRun",
    "Supervised",
    "TeacherRun",
    "UniMatch",
    "ZeroShot",
]
