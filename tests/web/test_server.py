"""The server answers its own page and nobody else: hostile requests over raw sockets, so that no client tidies them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served import Served

from vaelab.cli import run as command
from vaelab.web import guard
from vaelab.web.guard import Refused
from vaelab.web.latest import Latest
from vaelab.web.pages import static


def raw(port: int, request: bytes, *, wait: float = 5) -> tuple[int, bytes]:
    """Send bytes as they are; return status and everything that came back (0 if the connection was closed)."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as connection:
        connection.sendall(request)
        got = b""
        try:
            while piece := connection.recv(65536):
                got += piece
        except (TimeoutError, ConnectionResetError):
            pass
    return (int(got.split(b" ", 2)[1]) if got.startswith(b"HTTP/") else 0), got


def get(served: Served, path: str = "/", *lines: str, host: str | None = "127.0.0.1:{}", token: bool = True) -> int:
    """Return the status of a GET with these header lines."""
    head = [f"GET {path} HTTP/1.1", *lines, "Connection: close"]
    if host is not None:
        head.append("Host: " + host.format(served.port))
    if token:
        head.append(f"X-Vaelab-Token: {served.server.start.token}")
    return raw(served.port, ("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))[0]


HOSTS = (
    "evil.example", "localhost.evil.com:{}", "127.0.0.1.evil.com:{}", "127.0.0.1", "localhost", "127.0.0.1:1",
    "LOCALHOST:{}", "localhost.:{}", "user@127.0.0.1:{}", "[::1%25lo]:{}", "0.0.0.0:{}", "127.1:{}", "2130706433:{}",
    "127.0.0.1:{}.", "127.0.0.1:{},evil.example", "127.0.0.2:{}", "[::ffff:127.0.0.1]:{}", "",
)  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_another_host_is_refused_on_every_route(digits: Served, host: str) -> None:
    for path in ("/", "/explorer.css", "/api/run", "/nothing"):
        assert get(digits, path, host=host) in (400, 403), path


def test_the_host_is_named_once(digits: Served) -> None:
    assert get(digits, host=None) == 400
    assert get(digits, "/", f"Host: 127.0.0.1:{digits.port}") == 400
    assert get(digits) == get(digits, host="localhost:{}") == 200


ORIGINS = (
    "http://evil.example", "null", "file://", "http://127.0.0.1:1", "https://127.0.0.1:{}", "http://127.0.0.1:{}.evil",
    "http://localhost:{}@evil.example", "http://127.0.0.1", "",
)  # fmt: skip


@pytest.mark.parametrize("origin", ORIGINS)
def test_another_origin_is_refused(digits: Served, origin: str) -> None:
    assert get(digits, "/", "Origin: " + origin.format(digits.port)) == 403
    assert get(digits, "/api/run", "Origin: " + origin.format(digits.port)) == 403


def test_origin_equal_to_a_hostile_host_is_refused(digits: Served) -> None:
    assert get(digits, "/", "Origin: http://evil.example", host="evil.example") == 403


def test_own_origins_and_sites_are_answered(digits: Served) -> None:
    for name in ("127.0.0.1", "localhost"):
        assert get(digits, "/api/run", f"Origin: http://{name}:{digits.port}", "Sec-Fetch-Site: same-origin") == 200
    assert get(digits, "/", "Sec-Fetch-Site: none") == 200
    for site in ("cross-site", "same-site", "?"):
        assert get(digits, "/", f"Sec-Fetch-Site: {site}") == 403


def test_data_need_the_token_and_the_page_does_not_hold_it(digits: Served) -> None:
    token = digits.server.start.token
    assert len(token) >= 43  # 256 bits
    for path in ("/api/run", "/api/points", "/api/nothing"):
        assert get(digits, path, token=False) == 401
        assert get(digits, path, f"X-Vaelab-Token: {token[:-1]}", token=False) == 401
        assert get(digits, path, f"X-Vaelab-Token: {token}") == 401, "twice"
        assert get(digits, f"{path}?token={token}", token=False) == 401, "not in a query, which is logged"
    body = json.dumps({"z": [0.0] * 4})
    bare = httpx.post(f"http://127.0.0.1:{digits.port}/api/decode", content=body, trust_env=False)
    assert bare.status_code == 401
    for path in static():
        assert token.encode() not in digits.client.get(path).content


def test_every_answer_carries_the_headers(digits: Served) -> None:
    decode = {"z": [0.0] * 4}
    answers = [
        *(digits.client.get(path) for path in (*static(), "/api/run", "/api/points", "/nothing")),
        *(digits.client.request(method, "/") for method in ("TRACE", "PUT", "DELETE", "OPTIONS", "POST")),
        digits.client.post("/api/decode", json=decode),
        digits.client.post("/api/decode", json={}),
        digits.client.post("/api/decode", content=b"x" * 70_000),
        digits.client.get("/", headers={"host": "evil.example"}),
        digits.client.get("/api/run", headers={"x-vaelab-token": "x"}),
    ]
    for answer in answers:
        for name, value in guard.HEADERS:
            assert answer.headers.get_list(name.decode()) == [value.decode()], (answer.request.url, answer.status_code)
        assert not [name for name in answer.headers if name.startswith("access-control") or name == "server"]
        assert "unsafe" not in answer.headers["content-security-policy"]


def test_methods(digits: Served) -> None:
    for method in ("TRACE", "PUT", "DELETE", "OPTIONS", "PATCH", "POST"):
        assert digits.client.request(method, "/").status_code == 405
        assert digits.client.request(method, "/api/run").status_code == 405
    for method in ("GET", "PUT"):
        assert digits.client.request(method, "/api/decode").status_code == 405


PATHS = (
    "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/%252e%252e/etc/passwd", "/..\\..\\etc\\passwd", "/etc/passwd",
    "//etc/passwd", "/static/../server.py", "/index.html", "/%00", "/explorer.css%00.html", "/api/run/",
    "/explorer.css/", "/./explorer.css/..", "http://evil.example/", "/api/../api/run", "/.git/config", "/server.py",
    "/%2F%2Fexplorer.css",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_no_path_reaches_a_file(digits: Served, path: str) -> None:
    assert get(digits, path) in (400, 404)


def test_long_paths_and_heads_are_refused(digits: Served) -> None:
    assert get(digits, "/" + "a" * 9000) in (400, 414)
    assert get(digits, "/" + "a" * 10**6) in (0, 400, 414)
    assert get(digits, "/", *(f"X-{i}: 1" for i in range(70))) == 431
    assert get(digits, "/", "X-Long: " + "a" * 20_000) in (400, 431)


@given(st.text(min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_only_the_page_s_own_paths_are_found(digits: Served, text: str) -> None:
    path = "/" + "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))
    known = {"/", *static()}
    assert digits.client.get(path).status_code == (200 if "/" + text in known else 404) or text.startswith("api/")


def test_bodies_are_bounded_and_typed(digits: Served) -> None:
    post, token = digits.client.post, digits.server.start.token
    head = f"POST /api/decode HTTP/1.1\r\nHost: 127.0.0.1:{digits.port}\r\nX-Vaelab-Token: {token}\r\n"
    head += "Content-Type: application/json\r\n"
    started = time.monotonic()
    assert raw(digits.port, f"{head}Content-Length: 1000000000\r\n\r\n{{".encode())[0] == 413
    endless = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    assert raw(digits.port, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + endless * 3)[0] in (0, 413)
    assert raw(digits.port, f"{head}Content-Length: -1\r\n\r\n".encode())[0] == 400
    assert time.monotonic() - started < 12
    body = json.dumps({"z": [0.0] * 4}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        assert post("/api/decode", content=body, headers={"content-type": kind}).status_code == 415


def test_a_body_that_does_not_arrive_ends(digits: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "PATIENCE", 0.2)
    head = f"POST /api/decode HTTP/1.1\r\nHost: 127.0.0.1:{digits.port}\r\nContent-Length: 9\r\n"
    head += f"X-Vaelab-Token: {digits.server.start.token}\r\nContent-Type: application/json\r\n\r\n"
    assert raw(digits.port, head.encode() + b"{")[0] == 408


Z = [0.0] * 4


def steps(number: float, way: str = "straight") -> bytes:
    return json.dumps({"start": Z, "end": Z, "steps": number, "way": way}).encode()


def grid(side: float, corner: object = Z) -> bytes:
    return json.dumps({"corner": corner, "right": Z, "up": Z, "side": side}).encode()


WRONG: dict[str, tuple[str, bytes, int, str]] = {
    "no JSON": ("decode", b"{", 400, "JSON"),
    "a list": ("decode", b"[]", 400, "object"),
    "deep": ("decode", b'{"z":' + b"[" * 30_000 + b"]" * 30_000 + b"}", 400, "JSON"),
    "NaN": ("decode", b'{"z":[NaN,0,0,0]}', 400, "finite"),
    "infinite": ("decode", b'{"z":[1e999,0,0,0]}', 422, "z holds numbers"),
    "huge integer": ("decode", b'{"z":[1' + b"0" * 400 + b",0,0,0]}", 422, "z holds numbers"),
    "integer of 5,000 digits": ("decode", b'{"z":[' + b"1" * 5000 + b",0,0,0]}", 400, "JSON"),
    "repeated": ("decode", b'{"z":[0,0,0,0],"z":[1,1,1,1]}', 400, "once"),
    "unknown": ("decode", json.dumps({"z": Z, "path": "/etc/passwd"}).encode(), 422, "unknown field 'path'"),
    "missing": ("decode", b"{}", 422, "z is missing"),
    "truth": ("decode", b'{"z":[true,0,0,0]}', 422, "z holds numbers"),
    "words": ("decode", b'{"z":["0",0,0,0]}', 422, "z holds numbers"),
    "short": ("decode", b'{"z":[0]}', 422, "a list of 4 numbers"),
    "long": ("decode", json.dumps({"z": [0] * 10_000}).encode(), 422, "a list of 4 numbers"),
    "far": ("decode", b'{"z":[101,0,0,0]}', 422, "-100 to 100"),
    "many steps": ("path", steps(10**9), 422, "steps"),
    "no step": ("path", steps(0), 422, "steps"),
    "half a step": ("path", steps(1.5), 422, "steps"),
    "way": ("path", steps(2, "<b>"), 422, "straight or spherical"),
    "row": ("row", b'{"number":100000}', 422, "number is a whole number from 0 to"),
    "negative row": ("row", b'{"number":-1}', 422, "number"),
    "wide grid": ("grid", grid(16), 422, "2 to 15"),
    "grid of words": ("grid", grid(5, "<b>"), 422, "corner is a list"),
    "far grid": ("grid", grid(5, [1e3, 0, 0, 0]), 422, "-100 to 100"),
    "no places": ("places", b'{"places":[]}', 422, "1 to 8 places"),
    "many places": ("places", json.dumps({"places": [Z] * 9}).encode(), 422, "1 to 8 places"),
    "places of words": ("places", b'{"places":["z"]}', 422, "places is a list of 4 numbers"),
    "posterior of nobody": ("posterior", b'{"number":100000,"again":0}', 422, "number"),
    "again and again": ("posterior", b'{"number":0,"again":1e9}', 422, "again is a whole number"),
    "t-SNE of a file": ("tsne", b'{"path":"/etc/passwd"}', 422, "unknown field 'path'"),
    "nearest to nothing": ("nearest", b'{"z":[]}', 422, "a list of 4 numbers"),
    "not utf-8": ("decode", b'{"z":"\xff"}', 400, "JSON"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_fields_are_named_in_one_line(digits: Served, name: str) -> None:
    kind, body, status, said = WRONG[name]
    answer = digits.client.post(f"/api/{kind}", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert said in error, error
    assert "\n" not in error
    assert "Traceback" not in error


def test_an_exception_has_a_number_and_no_traceback(
    digits: Served, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(places: object) -> bytes:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(digits.explored, "decode", broken)
    answer = digits.client.post("/api/decode", json={"z": Z})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "RuntimeError" not in answer.text
    number = answer.json()["error"].split()[2].rstrip(":")
    assert number in capfd.readouterr().err


def test_the_newest_request_wins_and_the_older_is_told(digits: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    go, begun, seen = threading.Event(), threading.Event(), []

    def slow(places: list[list[float]]) -> bytes:
        seen.append(places[0][0])
        begun.set()
        assert go.wait(10)
        return b"done"

    monkeypatch.setattr(digits.explored, "decode", slow)

    def ask(value: int) -> httpx.Response:
        return digits.client.post("/api/decode", json={"z": [value, 0, 0, 0]}, timeout=20)

    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(ask, 1)
        assert begun.wait(5)
        waiting = []
        for value in (2, 3, 4):
            waiting.append(pool.submit(ask, value))
            time.sleep(0.2)
        assert [f.done() for f in waiting] == [True, True, False]
        go.set()
        answers = [f.result() for f in (first, *waiting)]
    assert [a.status_code for a in answers] == [200, 503, 503, 200]
    assert answers[1].headers["retry-after"] == "1"
    assert seen == [1, 4], "given up before it was computed"


def test_latest_is_one_at_a_time_and_survives_who_leaves() -> None:
    running, most = 0, 0

    def work() -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.05)
        running -= 1
        return 7

    async def scene() -> None:
        latest = Latest()
        tasks = [asyncio.create_task(latest.run(f"kind {i}", work)) for i in range(4)]
        await asyncio.sleep(0.02)
        tasks[0].cancel()  # at work: the worker is not free yet
        tasks[2].cancel()  # waits
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [found[1], found[3]] == [7, 7]
        newer = [asyncio.create_task(latest.run("one", work)) for _ in range(3)]
        found = await asyncio.gather(*newer, return_exceptions=True)
        assert [isinstance(f, Refused) for f in found] == [True, True, False], "none was at work yet"
        latest.close()

    asyncio.run(scene())
    assert most == 1


def test_many_at_once_are_told_to_come_again(digits: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MOST_AT_ONCE", 0)
    answer = digits.client.get("/api/run")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


def test_small_answers_are_sent_at_once(digits: Served) -> None:
    took = []
    for _ in range(20):
        started = time.perf_counter()
        digits.client.get("/explorer.css")
        took.append(time.perf_counter() - started)
    assert min(took) < 0.03, "head and body of an answer wait for each other (40 ms): TCP_NODELAY is off"


def test_it_is_bound_to_this_machine_alone(digits: Served) -> None:
    assert digits.server.socket.getsockname()[0] == "127.0.0.1"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", digits.port), timeout=1)


def test_a_taken_port_is_said_before_any_page(
    digits: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = digits.run.save(tmp_path / "model.safetensors")
    assert command(["explore", str(model), "--no-browser", "--port", str(digits.port)]) == 5
    said = capsys.readouterr()
    assert said.out == ""
    assert "--port 0" in said.err
    assert command(["explore", str(model), "--no-browser", "--port", "70000"]) == 2


def test_the_command_stops_cleanly(digits: Served, tmp_path: Path) -> None:
    model = digits.run.save(tmp_path / "model.safetensors")
    line = [sys.executable, "-m", "vaelab", "explore", str(model), "--no-browser", "--port", "0"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    assert process.stderr is not None
    address = process.stdout.readline().strip()
    base, token = address.split("/#token=")
    facts = httpx.get(f"{base}/api/run", headers={"x-vaelab-token": token}, trust_env=False).json()
    assert facts["rows"] == 0
    assert "does not know its data" in facts["reason"]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)  # two seconds on an idle machine
    assert (process.returncode, out) == (0, "")
    assert err.splitlines()[-1] == "stopped."
    assert token not in err
    assert "Traceback" not in err
    with pytest.raises(httpx.ConnectError):
        httpx.get(base, trust_env=False)


def test_no_script_makes_markup_or_code_of_text() -> None:
    pages = [*static().items(), *static("vaelab.web", "offline").items(), *static("vaelab.study", "page").items()]
    assert len(pages) > 20
    for path, (content, _) in pages:
        text = content.decode()
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
            "new Function",
            " onclick=",
        ):
            assert word not in text, f"{path}: {word}"
        assert "http://" not in text.replace("http://www.w3.org/", ""), path
        assert "https://" not in text, path


def test_the_table_of_hostile_requests_has_eighty_of_them() -> None:
    assert 4 * len(HOSTS) + 2 * len(ORIGINS) + len(PATHS) + len(WRONG) >= 80
