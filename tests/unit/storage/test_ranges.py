"""Whole files from S3: how many requests, and how much memory."""

import os
import subprocess
import sys
from math import ceil
from pathlib import Path

import pytest

from bench.counting_s3 import CountingS3, by_kind
from segray.storage import files

MIB = 2**20
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("size", [1, 16 * MIB, 70 * MIB + 3])
def test_a_whole_file_costs_a_request_for_each_16_mib_and_one(size: int, s3_server: CountingS3, s3_bucket: str) -> None:
    data = os.urandom(size)
    files.write_bytes_atomic(f"{s3_bucket}/a.bin", data)
    with s3_server.counted() as requests:
        assert files.read_bytes(f"{s3_bucket}/a.bin") == data
    assert len(requests) <= 1 + ceil(size / (16 * MIB))
    assert sum(request.received for request in requests) == size


def test_an_empty_file_is_empty(s3_bucket: str) -> None:
    files.write_bytes_atomic(f"{s3_bucket}/a.bin", b"")
    assert files.read_bytes(f"{s3_bucket}/a.bin") == files.read_bytes(f"{s3_bucket}/a.bin", 5) == b""


@pytest.mark.parametrize("profile", ["", "default"], ids=["keys in the environment", "a profile, which pyarrow reads"])
@pytest.mark.parametrize(("size", "ranges"), [(1000, 1), (32 * MIB, 1), (33 * MIB, 2)])
def test_requests_of_each_client(
    size: int, ranges: int, profile: str, s3_server: CountingS3, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(size)
    files.write_bytes_atomic(f"{s3_bucket}/a.bin", data)
    if profile:
        monkeypatch.setenv("AWS_PROFILE", profile)
    with s3_server.counted() as requests:
        assert files.read_bytes(f"{s3_bucket}/a.bin") == data
    assert by_kind(requests) == {("other", "GET"): ranges} | ({("other", "HEAD"): ranges} if profile else {})


@pytest.mark.parametrize(("limit", "received"), [(10, 10), (1000, 1000), (5000, 1000)])
def test_no_more_than_the_limit_is_fetched(limit: int, received: int, s3_server: CountingS3, s3_bucket: str) -> None:
    files.write_bytes_atomic(f"{s3_bucket}/a.bin", bytes(range(250)) * 4)
    with s3_server.counted() as requests:
        assert files.read_bytes(f"{s3_bucket}/a.bin", limit) == (bytes(range(250)) * 4)[:limit]
    assert sum(request.received for request in requests) == received


_PEAK = """
import re, sys
from segray.storage import files

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])

files.read_bytes(sys.argv[1], 1)
before = peak()
data = files.read_bytes(sys.argv[1])
print((peak() - before) / len(data))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's account of peak memory")
def test_a_whole_file_takes_its_own_size_of_memory(s3_bucket: str) -> None:
    files.write_bytes_atomic(f"{s3_bucket}/a.bin", bytes(100 * MIB))
    told = subprocess.run(
        [sys.executable, "-c", _PEAK, f"{s3_bucket}/a.bin"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert float(told.stdout) <= 1.1
