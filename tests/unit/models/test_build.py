import pytest

from segray.config.base import build as build_config
from segray.config.students import Mask2Former
from segray.errors import ConfigError


def test_a_student_knows_its_classes_and_settings(build):
    student = build(num_queries=5)
    assert student.classes == ("disc", "square", "star")
    assert student.settings.num_queries == 5


@pytest.mark.parametrize("widths", [{"hidden_dim": 40}, {"hidden_dim": 96, "num_heads": 5}])
def test_widths_that_do_not_divide_are_a_config_error(widths):
    with pytest.raises(ConfigError, match="multiple of 32"):
        build_config(Mask2Former, widths, "student")
