import pytest

from segray.errors import SourceError
from segray.storage import names

LOCAL, S3 = "/data/images", "s3://bucket/images?endpoint_override=http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("folder", "name", "uri"),
    [
        (LOCAL, "a.png", "/data/images/a.png"),
        (LOCAL, "b/../a b#?.png", "/data/images/b/../a b#?.png"),
        (LOCAL, "/data/images/a.png", "/data/images/a.png"),
        (LOCAL, "file:///data/images/a.png", "file:///data/images/a.png"),
        (LOCAL, "12:00::00.png", "/data/images/12:00::00.png"),
        (LOCAL, "https://host/a.png", "https://host/a.png"),
        (LOCAL, "s3://other/a.png", "s3://other/a.png"),
        ("file:///data/images", "a.png", "file:///data/images/a.png"),
        (S3, "b/a.png", "s3://bucket/images/b/a.png?endpoint_override=http://127.0.0.1:9"),
        (S3, "what?.png", "s3://bucket/images/what?.png?endpoint_override=http://127.0.0.1:9"),
        (S3, "/a.png", "s3://bucket/images/a.png?endpoint_override=http://127.0.0.1:9"),
        ("memory://x/images", "memory://x/images/a.png", "memory://x/images/a.png"),
    ],
)  # fmt: skip
def test_names_below_the_folder_and_of_object_stores_are_opened(folder, name, uri):
    assert names.resolve(folder, name) == uri


@pytest.mark.parametrize(
    ("folder", "name", "reason"),
    [
        (LOCAL, "reference://x.jpg::http://127.0.0.1/refs.json", "chains file systems"),
        (LOCAL, "simplecache::https://host/a.png", "chains file systems"),
        (S3, "zip://a.png::s3://bucket/a.zip", "chains file systems"),
        (LOCAL, "s3://b/k.jpg?endpoint_override=http://attacker", "chooses a server"),
        (S3, "k.jpg?endpoint_override=http://attacker", "chooses a server"),
        (S3, "k.jpg?region=x", "chooses a server"),
        (LOCAL, "ftp://host/a.png", "of scheme ftp"),
        (LOCAL, "memory://x/a.png", "of scheme memory"),
        (LOCAL, "github://org:repo@main/a.png", "of scheme github"),
        (LOCAL, "local://x", "of scheme local"),
        (LOCAL, "a\0.png", "NUL"),
    ],
)
@pytest.mark.parametrize("outside", [False, True])
def test_names_that_no_data_may_give(folder, name, reason, outside):
    with pytest.raises(SourceError, match=reason):
        names.resolve(folder, name, outside=outside)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        (LOCAL, "../secret.png"),
        (LOCAL, "a/../../secret.png"),
        (LOCAL, "/etc/passwd"),
        (LOCAL, "/data/images-of-others/a.png"),
        (LOCAL, "file:///etc/passwd"),
        (LOCAL, "FILE:///etc/passwd"),
        ("file:///data/images", "../a.png"),
        (S3, "file:///etc/passwd"),
        (S3, "../others/a.png"),
    ],
)
def test_names_that_lead_out_need_consent(folder, name):
    with pytest.raises(SourceError, match="outside = true"):
        names.resolve(folder, name)
    assert names.problem(folder, name, outside=True) is None


def test_many_names_are_told_together():
    with pytest.raises(SourceError, match=r"(?s)6 names .*'\.\./0'.*and 1 more"):
        names.resolve_all(LOCAL, [f"../{index}" for index in range(6)] + ["a.png"])
    assert names.resolve_all(LOCAL, {"id": "a.png"}) == {"id": "/data/images/a.png"}
