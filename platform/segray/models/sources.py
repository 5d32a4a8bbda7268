"""Sources as students learn from them. Imports no torch."""

from segray.config.registry import StudentConfig
from segray.config.students import SemanticStudentConfig
from segray.formats.label_maps import LabelMaps
from segray.formats.registry import SourceConfig, open_source
from segray.formats.source import Source


def open_for(student: StudentConfig, source: SourceConfig) -> Source:
    """Open a source as such a student learns from it: as label maps for semantic students.

    Raises:
        SourceError: it cannot be read.
    """
    opened = open_source(source)
    return LabelMaps(opened, background=student.background) if isinstance(student, SemanticStudentConfig) else opened
