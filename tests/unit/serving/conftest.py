"""Clients of applications over a backend that finds what is painted."""

import pytest
from fastapi.testclient import TestClient

from segray.config.base import build
from segray.config.serve import ServeConfig
from segray.serving.http.application import create_app
from segray.serving.testing import PaintedBackend

TABLES = {
    "job": "serve",
    "keys": {"kind": "off"},
    "student": {"uri": "platform/segray/assets/weights/mask2former-nano"},
    "clicks": {"sam": {"kind": "original", "model": "nano"}},
}


@pytest.fixture
def connect():
    """A client of an application whose config is changed as given, table by table."""

    def connect(backend=None, *, raise_server_exceptions=True, observers=(), **changes):
        config = build(ServeConfig, TABLES | changes, "test")
        app = create_app(backend or PaintedBackend(), config, observers=observers)
        return TestClient(app, base_url="http://localhost", raise_server_exceptions=raise_server_exceptions)

    return connect


@pytest.fixture
def client(connect):
    return connect()
