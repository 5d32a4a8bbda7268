"""The front door: each call twice in one process, over tiny images and students."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import segray
from segray.errors import BackendError, ConfigError, SourceError
from segray.jobs.outputs import last_run
from segray.storage import files
from segray.store.rows import LABELED
from segray.tally import Tally
from segray.testing import write_coco, write_images, write_training
from segray.training.runs.catalog import promote

QUICK = {"points_per_side": 4, "masks__pred_iou_thresh": 0.1, "masks__stability_score_thresh": 0.1, "progress": False}


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Three images and a file that is none, in the current folder's `photos`."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "photos", 3)
    (tmp_path / "photos" / "broken.png").write_bytes(b"no image")
    return tmp_path / "photos"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    config = write_training(tmp_path_factory.mktemp("trained"), steps=2)
    return config, segray.train(config, seed=1, progress=False)


@pytest.fixture(scope="module")
def maps_config(tmp_path_factory):
    return write_training(tmp_path_factory.mktemp("maps"), "supervised", steps=2, student="fpn")


def run(code: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loaded_by(code: str, folder: Path) -> set[str]:
    """The packages that are imported once the code has run."""
    return set(run(f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})", folder).split())


def test_importing_segray_loads_nothing_heavy(tmp_path):
    assert not {"torch", "ray", "numpy", "pyarrow", "pydantic", "PIL"} & loaded_by("import segray", tmp_path)


def test_labeling_and_exporting_in_this_process_do_not_load_ray(photos):
    code = (
        "import segray\n"
        f"store = segray.label('photos', **{QUICK})\n"
        "store.export('coco', 'masks.json')\n"
        "segray.load_sam('nano')\n"
    )
    packages = loaded_by(code, photos.parent)
    assert "torch" in packages
    assert "ray" not in packages


def test_every_name_is_found_and_shadowed_by_no_package():
    for name in segray.__all__:
        assert callable(getattr(segray, name))
        assert getattr(segray, name) is getattr(segray, name)
        assert not (Path(segray.__file__).parent / name).exists()
    assert set(segray.__all__) <= set(dir(segray))
    with pytest.raises(AttributeError, match=r"'segray' has no attribute 'lable'; it has .*label"):
        segray.lable  # noqa: B018 - reading it is the test


def test_a_folder_is_labeled_once(photos):
    first, second = (segray.label("photos", **QUICK) for _ in range(2))
    assert first.uri == second.uri == str(photos.parent / "out" / "stores" / Path(first.uri).name)
    assert len(second) == 4
    assert second.info().parts == 1
    write_images(photos, 1, first=7)
    assert len(segray.label("photos/", **QUICK)) == 5


def test_a_store_streams_its_images_and_finds_one_by_name(photos):
    store = segray.label(photos, **QUICK)
    for _ in range(2):
        images = {image.image_id: image for image in store}
        assert sorted(images) == ["00000.png", "00001.png", "00002.png", "broken.png"]
        assert images["broken.png"].error == "not-an-image"
        assert images["broken.png"].instances is None
        one = store["00001.png"]
        assert one.uri == str(photos / "00001.png")
        assert one.error is None
        assert len(one.instances) == len(images["00001.png"].instances) > 0
    with pytest.raises(KeyError, match=r"holds no image called 'nobody\.png'"):
        store["nobody.png"]


def test_a_store_knows_which_images_it_holds(photos):
    store = segray.label(photos, **QUICK)
    assert "broken.png" in store
    assert "other.png" not in store
    read = Tally.from_json(last_run(store)["tallies"]["images"])
    assert (read["images"].read, read["images"].used) == (4, 3)
    assert read["images"].left_out["not-an-image"].examples == ["broken.png"]
    with pytest.raises(TypeError, match="indexed by image ids, which are texts, got int"):
        store[0]


def test_a_store_becomes_tables(photos):
    store = segray.label(photos, **QUICK)
    assert store.to_arrow().schema == LABELED
    table = store.to_pandas(["image_id", "error"])
    assert table.set_index("image_id")["error"].dropna().to_dict() == {"broken.png": "not-an-image"}
    with pytest.raises(ValueError, match="no column masses"):
        store.to_arrow(["masses"])


def test_a_store_is_exported(photos):
    store = segray.label(photos, **QUICK)
    summaries = [store.export("coco", "masks.json"), segray.export(store.uri, "coco", "again.json")]
    assert summaries[0] == summaries[1]
    assert len(json.loads(Path("masks.json").read_text())["annotations"]) == store.info().masks


@pytest.mark.parametrize("kind", ["list", "coco", "table", "store", "manifest"])
def test_images_are_named_in_many_ways(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = write_coco(tmp_path / "coco", 2)
    paths = sorted((tmp_path / "coco" / "images").iterdir())
    named = {
        "list": lambda: paths,
        "coco": lambda: "coco/instances.json",
        "table": lambda: {"kind": "folder", "uri": source.uri},
        "store": lambda: segray.label(source, **QUICK),
        "manifest": lambda: tmp_path / "coco" / "images" / "list.parquet",
    }
    if kind == "manifest":
        pq.write_table(pa.table({"uri": [path.name for path in paths]}), named[kind]())
    assert len(segray.label(named[kind](), **QUICK)) == 2


@pytest.mark.parametrize("kind", ["table", "coco", "by name"])
def test_boxes_become_a_mask_each(kind, photos):
    boxes = {"00000.png": [(4, 4, 40, 50)], "00002.png": [(0, 0, 20, 20), (30, 30, 60, 60)]}
    if kind == "table":
        rows = [f"{name},{','.join(map(str, box))}" for name, several in boxes.items() for box in several]
        Path("boxes.csv").write_text("\n".join(["image,x0,y0,x1,y1", *rows]))
    if kind == "coco":
        images = [{"id": place, "file_name": name, "width": 64, "height": 64} for place, name in enumerate(boxes)]
        found = [
            {"id": 10 * place + number, "image_id": place, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}
            for place, several in enumerate(boxes.values())
            for number, (x0, y0, x1, y1) in enumerate(several)
        ]
        categories = [{"id": 1, "name": "thing"}]
        Path("boxes.json").write_text(json.dumps({"images": images, "annotations": found, "categories": categories}))
    given = {"table": "boxes.csv", "coco": "boxes.json", "by name": boxes}[kind]
    store = segray.label(photos, boxes=given, progress=False)
    assert {image.image_id: len(image.instances) for image in store} == {"00000.png": 1, "00002.png": 2}


@pytest.mark.parametrize(
    ("source", "boxes", "message"),
    [
        ("photos", "boxes.txt", r"boxes: give a \.csv, \.parquet or COCO \.json file"),
        (["photos/00000.png"], "boxes.csv", "boxes need the folder of their images"),
        ("label.toml", "boxes.csv", "names its boxes"),
    ],
)
@pytest.mark.usefixtures("photos")
def test_boxes_that_cannot_be_used_are_refused(source, boxes, message):
    with pytest.raises(ConfigError, match=message):
        segray.label(source, boxes=boxes, progress=False)


def test_a_student_predicts_is_corrected_and_trained_further(trained, photos):
    """The three commands of docs/predict.md: predict, export with what people corrected, train."""
    config, run = trained
    store = segray.predict(run, photos, score_threshold=0, progress=False)
    assert store.uri == segray.predict(run.best, "photos", score_threshold=0, progress=False).uri
    assert store["broken.png"].error == "not-an-image"
    assert len(store["00000.png"].instances) > 0
    images = [{"id": 1, "file_name": "00000.png", "width": 64, "height": 64}]
    square = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[8, 8, 40, 8, 40, 40, 8, 40]]}
    categories = [{"id": 1, "name": "square"}]
    Path("fixed.json").write_text(json.dumps({"images": images, "annotations": [square], "categories": categories}))
    store.export("coco", "round-2.json", corrections=["fixed.json"])
    source = {"kind": "coco", "uri": "photos", "annotations": "round-2.json"}
    runs = str(Path("runs").absolute())
    again = segray.train(
        config, seed=3, until="teacher", runs=runs, data__labeled=source, student__start=run.best, progress=False
    )
    assert Path(again.last, "student.safetensors").is_file()


def test_sam_sharpens_what_a_student_finds(trained, photos):
    store = segray.predict(trained[1], photos, score_threshold=0, sharpen="nano", progress=False)
    masks = store["00000.png"].instances
    assert len(masks) > 0
    assert [bool(reason) for reason in masks.review_reasons()] == [one == "student" for one in masks.provenance]


def test_a_label_config_takes_arguments_in_place_of_its_own(photos):
    Path("label.toml").write_text('job = "label"\nstores = "kept"\n[source]\nkind = "folder"\nuri = "photos"\n')
    store = segray.label("label.toml", ray=False, images_per_batch=2, masks={"mode": "fast"}, **QUICK)
    assert store.uri.startswith(str(photos.parent / "kept"))
    assert store.manifest.content["masks"]["mode"] == "fast"


@pytest.mark.slow
@pytest.mark.parametrize("given", [{"device": "cpu"}, {"sam__precision": "float32"}])
def test_settings_of_the_sam_need_no_name_of_it(photos, given):
    assert len(segray.label(photos, **QUICK, **given)) == 4


def test_ray_false_takes_a_config_with_a_pool(photos, trained):
    config = photos.parent / "pool.toml"
    config.write_text(
        'job = "label"\nstores = "stores"\nsource = { kind = "folder", uri = "photos" }\n'
        "masks = { points_per_side = 2 }\nworkers = { max_workers = 8, images_per_part = 2 }\n"
    )
    assert len(segray.label(config, ray=False, progress=False)) == 4
    elastic = {"workers__num_workers": 1, "workers__min_workers": 1}
    assert segray.train(trained[0], seed=1, ray=False, progress=False, **elastic).was_finished


def test_a_folder_is_labeled_on_ray_into_the_same_store(photos):
    here = segray.label(photos, stores="here", **QUICK)
    there = segray.label(photos, stores="there", ray=True, **QUICK)
    assert Path(here.uri).name == Path(there.uri).name
    for image in here:
        other = there[image.image_id]
        assert other.error == image.error
        if image.instances is not None:
            assert other.instances.counts.tolist() == image.instances.counts.tolist()


def test_training_comes_back_to_a_finished_run(trained):
    config, run = trained
    again = segray.train(config, seed=1, progress=False)
    assert (again.folder, again.was_finished, run.was_finished) == (run.folder, True, False)
    assert again.figures == run.figures
    assert "best.ap" in run.figures
    assert [Path(one.folder).name.split("-")[1] for one in run.earlier] == ["teacher"]
    for student in (run.best, run.last):
        assert student.startswith(run.folder)


def test_an_argument_of_train_reaches_the_config(trained):
    config, run = trained
    other = segray.train(
        config, seed=2, until="teacher", method={"teacher": {"schedule": {"steps": 1}}}, progress=False
    )
    assert json.loads(Path(other.folder, "run.json").read_text())["config"]["seed"] == 2
    assert json.loads(Path(other.folder, "finished.json").read_text())["step"] == 1
    assert other.folder != run.earlier[0].folder


def test_a_student_predicts_on_paths_pictures_and_arrays(trained, tmp_path):
    (path,) = write_images(tmp_path, 1)
    image = Image.open(path)
    student = segray.load_student(trained[1].best)
    for _ in range(2):
        found = student.predict([str(path), path, image, np.array(image)], images_per_batch=3)
        assert [type(one) for one in found] == [segray.Instances] * 4
        assert all(one.counts.tolist() == found[0].counts.tolist() for one in found)
    (alone,) = student.predict(path, score_threshold=2.0)
    assert len(alone) == 0
    assert student.classes == ("disc", "square")


def test_a_semantic_student_predicts_label_maps(maps_config, tmp_path):
    run = segray.train(maps_config, progress=False)
    (found,) = segray.load_student(run.best).predict(write_images(tmp_path, 1))
    assert (found.shape, found.dtype) == ((64, 64), np.uint8)
    assert "miou" in segray.evaluate(run, maps_config.parent / "validation" / "instances.json", progress=False)


def test_a_student_is_loaded_by_its_promoted_name(trained):
    folder = Path(trained[1].folder)
    promote(str(folder.parent), folder.name, "street-v1")
    assert segray.load_student(folder.parent / "promoted" / "street-v1.json").folder == trained[1].best


def test_a_student_is_loaded_from_s3(trained, s3_bucket):
    for file in Path(trained[1].best).glob("student.*"):
        files.write_bytes_atomic(f"{s3_bucket}/student/{file.name}", file.read_bytes())
    assert segray.load_student(f"{s3_bucket}/student").classes == ("disc", "square")


def test_a_student_and_a_store_are_evaluated(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, run = trained
    truth = config.parent / "validation" / "instances.json"
    student = segray.load_student(run.best)
    figures = [segray.evaluate(what, truth, progress=False) for what in (run, run, run.best, student)]
    assert "ap" in figures[0]
    assert all(one == figures[0] for one in figures)
    assert Path("out/evaluation/figures.json").is_file()
    store = segray.label(truth, **QUICK)
    assert set(segray.evaluate(store, truth, out="recall", progress=False)) == {"recall"}


def test_a_sam_takes_points_and_boxes(tmp_path):
    (path,) = write_images(tmp_path, 1)
    for _ in range(2):
        sam = segray.load_sam("nano")
        assert len(sam.predict(path, points=[(10, 10), (30, 30)])) == 2
        assert len(sam.predict(path, boxes=[(5, 5, 30, 30)])) == 1
        assert len(sam.generate(path, points_per_side=4, pred_iou_thresh=0.1)) > 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: segray.label("photos", sam="vit_x"), ConfigError, r"sam\.model.*'vit_h', got 'vit_x'"),
        (lambda: segray.label("photos", points_per_side="many"), ConfigError, r"points_per_side.*got 'many'"),
        (lambda: segray.label("photos", mode="quick"), ConfigError, r"masks\.mode.*got 'quick'"),
        (lambda: segray.label("photos", wokers={}), ConfigError, r"wokers: unknown key"),
        (
            lambda: segray.label("photos", stores__uri="x"),
            ConfigError,
            r"'stores__uri': stores is a value, not a table",
        ),
        (lambda: segray.label(7), ConfigError, r"source: give a folder.*got int"),
        (lambda: segray.label([]), ConfigError, r"source: give a folder.*got list"),
        (lambda: segray.label("nowhere"), SourceError, r"nowhere"),
        (lambda: segray.train("nowhere.toml"), ConfigError, r"nowhere\.toml: cannot be read"),
        (lambda: segray.evaluate("out/runs/x/best"), ConfigError, r"data is missing"),
        (lambda: segray.load_student("nowhere"), BackendError, r"nowhere"),
        (lambda: segray.load_student("nowhere", device="gpu"), ConfigError, r"device: got 'gpu', allowed: auto"),
        (lambda: segray.load_sam("vit_h"), ConfigError, r"'vit_h' needs weights"),
    ],
)
@pytest.mark.usefixtures("photos")
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=rf"(?s){message}"):
        call()
