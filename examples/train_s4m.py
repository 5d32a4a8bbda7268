"""Train an instance student with S4M: a few labeled scenes, many unlabeled ones, and sam-nano to refine what it learns.

python examples/train_s4m.py                 (about a quarter of an hour on two cores)
"""

import argparse
from pathlib import Path

import segray
from segray.demo.training import family_b

CONFIG = Path(__file__).parents[1] / "configs" / "s4m" / "family-b.toml"
QUICK = {
    "method": {
        "teacher": {"schedule": {"steps": 2, "labeled_batch": 4}},
        "student": {"schedule": {"steps": 2, "labeled_batch": 4, "unlabeled_batch": 4}},
    },
    "intervals": {"log_every": 1, "checkpoint_every": 2, "evaluate_images": 1},
}
"""Too little to learn anything."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/examples/train"))
    parser.add_argument("--quick", action="store_true", help="two steps: to see that it runs")
    options = parser.parse_args()

    # A procedural world as COCO files: a tenth of the images keep their masks, the others only measure.
    size = (
        {"train": 8, "validation": 2, "share": 0.5} if options.quick else {"train": 160, "validation": 40, "share": 0.1}
    )
    data = family_b(options.out / "world", **size)

    # Arguments change the config: a dict goes into a table key by key. Run this again to resume.
    changes = QUICK if options.quick else {}
    run = segray.train(CONFIG, data=data, runs=options.out / "runs", ray=False, seed=1, **changes)
    print(f"report: {run.folder}/report.html")
    print(f"AP of the best student: {100 * run.figures['best.ap']:.1f} %")

    student = segray.load_student(run.best)
    picture = next(Path(data["validation"]["uri"]).iterdir())
    (found,) = student.predict([picture], score_threshold=0.5)
    print(f"{picture.name}: {found}")
    found.plot(picture).save(options.out / "predicted.png")

    figures = segray.evaluate(student, data["validation"], out=options.out / "evaluation", student__max_images=2)
    print({name: round(value, 3) for name, value in figures.items()})


if __name__ == "__main__":
    main()
