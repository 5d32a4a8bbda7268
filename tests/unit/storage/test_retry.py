import http.server
import threading

import pytest

from segray.errors import SourceError
from segray.storage import files, retry


class Moody(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        answers = self.server.answers
        status = answers.pop(0) if len(answers) > 1 else answers[0]
        body = b"an image" if status == 200 else b""
        self.server.asked.append(status)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    """Answers with the statuses of `answers` in turn, the last of them for ever."""
    monkeypatch.setattr(retry, "PAUSES_S", (0.01, 0.01, 0.01, 0.01))
    started = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Moody)
    started.asked, started.answers = [], [200]
    threading.Thread(target=started.serve_forever, daemon=True).start()
    yield started
    started.shutdown()
    started.server_close()


def uri(server):
    return f"http://127.0.0.1:{server.server_address[1]}/image.png"


@pytest.mark.parametrize("status", sorted(retry.PASSING))
def test_a_server_that_is_busy_for_a_while_is_waited_for(server, status, caplog):
    server.answers = [status, status, status, 200]
    assert files.read_bytes(uri(server)) == b"an image"
    assert "trying again" in caplog.text


@pytest.mark.parametrize(("status", "asked_at_most"), [(404, 2), (403, 2), (500, 2)])
def test_what_will_not_pass_is_said_at_once(server, status, asked_at_most):
    server.answers = [status]
    with pytest.raises(SourceError):
        files.read_bytes(uri(server))
    assert len(server.asked) <= asked_at_most


def test_a_server_that_stays_away_is_an_error(server):
    server.answers = [503]
    with pytest.raises(SourceError, match=r"cannot be opened|no such file"):
        files.read_bytes(uri(server))
