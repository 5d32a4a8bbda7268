"""The train job: its method, and all that no method changes (`segray.config.train`). Imports no torch."""

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, Union

import pydantic

from segray.config.base import SettingError, config, refuse_without_effect
from segray.config.model_kinds import STUDENT_CLASSES
from segray.config.schedule import BatchSizes
from segray.config.students import SemanticStudentConfig
from segray.config.train import TrainSettings
from segray.methods import METHODS, Method, settings_class

if TYPE_CHECKING:
    MethodConfig: TypeAlias = Method
else:
    MethodConfig = Annotated[Union[*map(settings_class, METHODS)], pydantic.Field(discriminator="kind")]


@config
class TrainConfig(TrainSettings):
    """A job that trains a student: `segray train CONFIG`."""

    job: Literal["train"]
    """Kind of job that this file describes."""
    method: MethodConfig
    """Method by which the student is trained."""

    @pydantic.model_validator(mode="after")
    def _student_fits(self) -> "TrainConfig":
        multiple, canvas_hw = self.student.multiple, self.view.canvas_hw
        if any(side % multiple for side in canvas_hw):
            raise ValueError(f"view.canvas_hw {list(canvas_hw)}: a {self.student.kind} needs multiples of {multiple}")
        fitting = [kind.kind for kind in STUDENT_CLASSES if issubclass(kind, self.method.trains)]
        if self.student.kind not in fitting:
            raise ValueError(
                f"method {self.method.kind} with student {self.student.kind}: it trains {', '.join(fitting)}"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _teacher_is_kept(self) -> "TrainConfig":
        if self.evaluation.best_by == "teacher" and not self.method.keeps_teacher:
            raise SettingError(
                "evaluation.best_by",
                f"'teacher': the method {self.method.kind} keeps no teacher with these settings; S4M does, and UniMatch"
                ' with streams = "v2" or an ema_half_life: leave it out',
            )
        return self

    @pydantic.model_validator(mode="after")
    def _unlabeled_images_are_seen(self) -> "TrainConfig":
        for run in self.method.batches():
            if run.group is None:
                reason = f"{run.path} learns from labels only"
                refuse_without_effect(run.schedule, ["unlabeled_batch"], reason, f"{run.path}.schedule")
        return self

    @pydantic.model_validator(mode="after")
    def _images_can_be_shared(self) -> "TrainConfig":
        problems = [problem for run in self.method.batches() for problem in _unshared(run, self)]
        if problems:
            raise ValueError("\n  ".join(problems))
        return self


def _unshared(run: BatchSizes, config: TrainConfig) -> list[str]:
    """Return why a step's images cannot be shared evenly, in whole groups, by any number of workers there may be."""
    if run.group is not None and config.data.unlabeled is None:
        return [f"{run.path} learns from unlabeled images: give data.unlabeled"]
    most, accumulate = max(config.workers.num_workers, 1), run.schedule.accumulate
    ohem = config.student.loss.ohem if isinstance(config.student, SemanticStudentConfig) else None
    batches = [("labeled_batch", run.schedule.labeled_batch, ohem.group if ohem else 1)]
    batches += [("unlabeled_batch", run.schedule.unlabeled_batch, run.group)] if run.group is not None else []
    return [
        f"{run.path}.schedule.{name}: {batch} images cannot be shared by {workers} workers in {accumulate} pieces"
        f"{f', in groups of {group}' if group > 1 else ''}: give a multiple of {workers * accumulate * group}"
        for workers in range(config.workers.min_workers or most, most + 1)
        for name, batch, group in batches
        if batch % (workers * accumulate * group)
    ]
