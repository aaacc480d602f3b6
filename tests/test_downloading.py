"""How Keras downloads: announced in a line, given up where nobody answers, and nothing half-written stays."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from trainkit.backend import downloading, keras
from trainkit.errors import WeightsError
from trainkit.models._backbones import load_imagenet

CONTENT = b"weights" * 300_000  # 2.1 MB


@contextmanager
def serving(send: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Serve a file of `CONTENT`'s length on this machine; `send` writes its body."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            send(self)

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/models/network.h5"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def download(url: str, folder: Path) -> Path:
    with downloading():
        return Path(keras.utils.get_file("network.h5", origin=url, cache_dir=folder, cache_subdir="models"))


def test_download_is_announced_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, "trainkit")
    with serving(lambda handler: handler.wfile.write(CONTENT)) as url:
        path = download(url, tmp_path)
        again = download(url, tmp_path)
    assert path == again
    assert path.read_bytes() == CONTENT
    announced = [record.message for record in caplog.records if record.name == "trainkit"]  # not the steps
    assert announced == [f"Downloading network.h5 (2.1 MB) from {url.rpartition('/')[0]}"]
    assert capfd.readouterr() == ("", "")
    assert socket.getdefaulttimeout() is None


def test_download_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    with (
        serving(lambda handler: handler.wfile.write(CONTENT[:1000])) as url,
        pytest.raises(Exception, match=r"retrieval incomplete|URL fetch failure"),
    ):
        download(url, tmp_path)
    assert list((tmp_path / "models").iterdir()) == []


def test_ctrl_c_in_a_download_leaves_nothing(tmp_path: Path) -> None:
    main, ended = threading.main_thread().ident, threading.Event()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(CONTENT[:1000])
        handler.wfile.flush()
        signal.pthread_kill(main, signal.SIGINT)  # type: ignore[arg-type]
        ended.wait(30)

    try:
        with serving(send) as url:
            with pytest.raises(KeyboardInterrupt):
                download(url, tmp_path)
            ended.set()
    finally:
        signal.signal(signal.SIGINT, before)
    assert list((tmp_path / "models").iterdir()) == []
    assert socket.getdefaulttimeout() is None


def test_server_that_is_not_there_is_given_up_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/models/network.h5"
    with pytest.raises(WeightsError, match=r"cannot be downloaded\. Put network\.h5 from http://127.* or stay at home"):
        load_imagenet("x", lambda weights: download(url, tmp_path), otherwise="stay at home")


def test_file_that_was_cut_off_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(WeightsError, match=r"The ImageNet weights of x in .* are damaged\. Delete the file"):
        load_imagenet("x", lambda weights: model.load_weights(tmp_path / "cut.weights.h5"), otherwise="stay at home")
