import hashlib
import http.server
import threading
import time
from functools import partial

import pytest

from sortal.data.download import fetch
from sortal.data.official import OfficialFile
from sortal.errors import DataError, MachineFailed

CONTENT = bytes(range(256)) * 4000  # 1 MB: several blocks
NOWHERE = "http://127.0.0.1:9/"  # the port of 'discard', where nobody listens


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `files`, with ranges if `ranges`; breaks off after `most` bytes of an answer, `breaks` times."""

    def __init__(self, server, *arguments) -> None:
        self.state = server
        super().__init__(*arguments)

    def do_GET(self) -> None:
        state = self.state
        state.asked.append((self.path, self.headers.get("Range")))
        data = state.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        start = 0
        if state.ranges and (asked := self.headers.get("Range")):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        most = len(data)
        if state.breaks:
            state.breaks -= 1
            most = state.most
        self.wfile.write(data[start : start + most])

    def log_message(self, *arguments) -> None:
        """Quiet."""


class Served:
    def __init__(self) -> None:
        self.files = {"/data.bin": CONTENT}
        self.asked = []
        self.ranges = True
        self.breaks, self.most = 0, len(CONTENT)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, self))
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def served():
    served = Served()
    thread = threading.Thread(target=served.server.serve_forever, args=(0.01,))
    thread.start()
    yield served
    served.server.shutdown()
    thread.join()
    served.server.server_close()


def official(*urls: str, content: bytes = CONTENT) -> OfficialFile:
    return OfficialFile("data.bin", hashlib.md5(content).hexdigest(), urls)


def test_a_file_is_downloaded_once_with_its_progress(served, tmp_path):
    told = []
    file = official(f"{served.url}/data.bin")
    assert fetch([file], tmp_path / "new", observe=told.append) == tmp_path / "new"
    assert (tmp_path / "new" / "data.bin").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["data.bin"]
    assert (told[-1].what, told[-1].done, told[-1].total, told[-1].unit) == ("downloading data.bin", 1024, 1024, "kB")
    assert len(told) > 2
    fetch([file], tmp_path / "new")
    assert len(served.asked) == 1


def test_a_file_that_was_put_there_needs_no_network(tmp_path):
    (tmp_path / "data.bin").write_bytes(CONTENT)
    fetch([official(NOWHERE)], tmp_path)


def test_a_wrong_file_that_was_put_there_is_named_and_stays(served, tmp_path):
    (tmp_path / "data.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match=r"data\.bin is not the published file: its MD5 is") as caught:
        fetch([official(f"{served.url}/data.bin")], tmp_path)
    assert "remove it" in caught.value.hint
    assert (tmp_path / "data.bin").read_bytes() == CONTENT[:-1]


def test_without_a_network_the_error_says_which_file_to_put_where(tmp_path):
    file = official(NOWHERE + "data.bin")
    other = OfficialFile("more.bin", "0" * 32, (NOWHERE,))
    with pytest.raises(DataError, match=r"data\.bin could not be downloaded:\n  http://127\.0\.0\.1:9/data\.bin: ") as caught:
        fetch([file, other], tmp_path / "new" / "files")
    named = f"data.bin (MD5 {file.md5}), more.bin (MD5 {'0' * 32})"
    assert f"put {named} into {tmp_path / 'new' / 'files'}" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_connection_that_breaks_is_taken_up_where_it_broke(served, tmp_path):
    served.breaks, served.most = 2, 400_000
    fetch([official(f"{served.url}/data.bin")], tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert [asked for _, asked in served.asked] == [None, "bytes=400000-", "bytes=800000-"]


def test_what_came_before_the_connection_failed_for_good_serves_the_next_call(served, tmp_path):
    served.breaks, served.most = 9, 1000
    with pytest.raises(MachineFailed, match=r"the connection ended after 3,000 of 1,024,000 bytes") as caught:
        fetch([official(f"{served.url}/data.bin")], tmp_path)
    assert "run it again to go on from 3,000 bytes" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["data.bin.part"]
    served.breaks = 0
    fetch([official(f"{served.url}/data.bin")], tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert served.asked[-1][1] == "bytes=3000-"


def test_a_server_that_knows_no_ranges_sends_all_again(served, tmp_path):
    served.ranges = False
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:1000])
    fetch([official(f"{served.url}/data.bin")], tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "left", [CONTENT, b"x" * len(CONTENT), b"x" * 10, CONTENT + b"x"], ids=["whole", "other", "begun", "more"]
)
def test_whatever_lies_under_the_temporary_name_the_result_is_the_published_file(served, tmp_path, left):
    (tmp_path / "data.bin.part").write_bytes(left)
    fetch([official(f"{served.url}/data.bin")], tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["data.bin"]


def test_what_has_not_the_published_checksum_is_not_kept(served, tmp_path):
    with pytest.raises(DataError, match="instead of the published"):
        fetch([official(f"{served.url}/data.bin", content=b"other")], tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(served.asked) == 1


def test_the_next_address_is_tried_where_one_fails(served, tmp_path):
    fetch([official(NOWHERE, f"{served.url}/gone.bin", f"{served.url}/data.bin")], tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_every_address_that_failed_is_told_with_its_reason(served, tmp_path):
    with pytest.raises(DataError, match=r"9/: Connection refused\n  http://127.*gone\.bin: the server answers 404"):
        fetch([official(NOWHERE, f"{served.url}/gone.bin")], tmp_path)


def test_a_second_process_waits_for_the_first_and_takes_what_it_fetched(served, tmp_path):
    file = official(f"{served.url}/data.bin")
    threads = [threading.Thread(target=fetch, args=([file], tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
        time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert [path.name for path in tmp_path.iterdir()] == ["data.bin"]
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
