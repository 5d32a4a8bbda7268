"""Tables of what can be exchanged by one line: SAM backends and students, by the classes of their settings.

The `sam` and `student` tables of every config are built from them. A settings class names the code that it configures
(`SamSettings.backend`, `StudentSettings.network`), which is imported when it is first built, so that nothing here needs
torch. CONTRIBUTING.md says how to add one.
"""

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, Union

import pydantic

from segray.config.sam import SamSettings
from segray.config.students import InstanceStudentConfig, SemanticStudentConfig, StudentSettings

SAM_BACKENDS: Final = (
    "segray.config.sam:OriginalSamConfig",
    "segray.config.sam:HfSamConfig",
)
STUDENTS: Final = (
    "segray.config.students:Mask2Former",
    "segray.config.students:Fpn",
    "segray.config.students:DeepLab",
    "segray.config.students:Dpt",
    "segray.config.students:DptDinov3",
    "segray.config.students:SegFormer",
    "segray.models.rf_detr.config:RfDetr",
)
"""A method trains the first one that fits unless its config says otherwise."""

SAM_CLASSES: Final[tuple[type[SamSettings], ...]] = tuple(map(resolve_name, SAM_BACKENDS))
STUDENT_CLASSES: Final[tuple[type[StudentSettings], ...]] = tuple(map(resolve_name, STUDENTS))


def _kind(given: Any) -> str:
    return str(given.get("kind", "mask2former") if isinstance(given, dict) else getattr(given, "kind", "mask2former"))


if TYPE_CHECKING:
    SamConfig: TypeAlias = SamSettings
    StudentConfig: TypeAlias = InstanceStudentConfig | SemanticStudentConfig
else:
    SamConfig = Annotated[Union[*SAM_CLASSES], pydantic.Field(discriminator="kind")]
    """A SAM, by `kind`."""
    _TAGGED = [Annotated[one, pydantic.Tag(one.kind)] for one in STUDENT_CLASSES]
    StudentConfig = Annotated[Union[*_TAGGED], pydantic.Discriminator(_kind)]
    """A student, by `kind`; without one a Mask2Former."""
