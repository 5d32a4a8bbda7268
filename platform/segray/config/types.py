"""Types of single settings, each defined once with one meaning. Knows no table of a config."""

from typing import Annotated, Literal

import pydantic

Count = Annotated[int, pydantic.Field(ge=1)]
"""A whole number from 1 on."""
CountOrZero = Annotated[int, pydantic.Field(ge=0)]
"""A whole number from 0 on."""
Positive = Annotated[float, pydantic.Field(gt=0)]
"""A number above 0."""
NonNegative = Annotated[float, pydantic.Field(ge=0)]
"""A number from 0 on."""
Share = Annotated[float, pydantic.Field(ge=0, le=1)]
"""A number from 0 to 1: a share of a whole, a probability, a score or an IoU."""
ShareBelowOne = Annotated[float, pydantic.Field(ge=0, lt=1)]
"""A number from 0 to under 1."""

Name = Annotated[str, pydantic.StringConstraints(min_length=1, strip_whitespace=True)]
"""A text that is not empty."""
Bands = tuple[Count, Count, Count]
"""Three bands of an image, counted from 1."""
Device = Literal["auto", "cpu", "cuda"]
"""Where a model computes; auto takes CUDA where present."""
Precision = Literal["float32", "bfloat16", "float16"]
"""The type in which a model computes; the half types need CUDA."""
TrainingPrecision = Literal["auto", "float32", "bfloat16"]
"""The type in which a student is trained; auto is bfloat16 on CUDA and float32 on CPUs."""
ApProtocol = Literal["coco", "cityscapes"]
"""Protocol of average precision that decides; COCO's is measured in any case."""
NetworkName = Literal["student", "teacher"]
"""A network of a run: the one that is trained, or the teacher, the moving average of its weights."""
