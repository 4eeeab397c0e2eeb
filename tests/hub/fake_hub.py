"""A hub on the loopback interface that serves a few files as the stock client asks for them."""

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

COMMIT = "a" * 40


@dataclass
class FakeHub:
    """What the hub has and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    status: int = 200
    error_code: str = ""
    asked: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    address: str = ""


def git_blob_id(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def etag(path: str, content: bytes) -> str:
    is_large = path.endswith(".safetensors")
    return hashlib.sha256(content).hexdigest() if is_large else git_blob_id(content)


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self, *, with_body: bool) -> None:
        path = urlsplit(self.path).path
        self.hub.asked.append(f"{self.command} {path}")
        self.hub.tokens.add(self.headers.get("Authorization", ""))
        headers: dict[str, str] = {}
        status, body = self.hub.status, b""
        if status != 200:
            body = b'{"error": "no"}'
            if self.hub.error_code:
                headers["X-Error-Code"] = self.hub.error_code
        elif "/resolve/" in path:
            name = path.split("/resolve/")[1].split("/", 1)[1]
            body = self.hub.files[name]
            headers = {"ETag": f'"{etag(name, body)}"', "X-Repo-Commit": COMMIT}
        elif "/tree/" in path:
            body = self._tree()
        else:
            siblings = [{"rfilename": name} for name in self.hub.files]
            body = json.dumps({"id": "org/tiny", "sha": COMMIT, "siblings": siblings}).encode()
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _tree(self) -> bytes:
        entries = [
            {"type": "file", "path": name, "size": len(content), "oid": git_blob_id(content)}
            for name, content in self.hub.files.items()
        ]
        return json.dumps(entries).encode()


@contextmanager
def running(hub: FakeHub) -> Iterator[FakeHub]:
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        hub.address = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def deaf_server(drip: bytes = b"") -> Iterator[str]:
    """Yield the address of a server that accepts and then sends nothing, or one byte at a time."""
    stop = threading.Event()
    connections: list[socket.socket] = []

    def serve(listener: socket.socket) -> None:
        while not stop.wait(0.05):
            with suppress(TimeoutError):
                connections.append(listener.accept()[0])
            for connection in connections if drip else []:
                with suppress(OSError):
                    connection.sendall(drip)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.05)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stop.set()
            thread.join()
            for connection in connections:
                connection.close()
