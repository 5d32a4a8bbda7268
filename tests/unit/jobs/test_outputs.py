from segray.jobs.outputs import refused
from segray.masks.instances import Instances
from segray.store import Store
from segray.store.rows import ImageRow, LabeledRow


def row(name, **content):
    return LabeledRow(image=ImageRow(image_id=name, uri=f"/{name}", version="1"), seconds=1.0, **content)


def test_a_few_refused_images_are_named_with_their_reasons(tmp_path):
    store = Store.create(str(tmp_path), "masks", {})
    store.write_part(
        [
            row("good.jpg", instances=Instances.from_rle([], (4, 4), provenance="sam")),
            row("text.jpg", error="not-an-image", detail="begins with 'hello'"),
            row("void.jpg", error="empty"),
        ]
    )
    assert sorted(refused(store, 5)) == ["text.jpg: not-an-image (begins with 'hello')", "void.jpg: empty"]
    assert len(refused(store, 1)) == 1
