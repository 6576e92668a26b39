"""A hub on this machine that speaks the part of Hugging Face's protocol that downloads use, serving folders.

    folder/ORG/NAME/REVISION/...           one folder a revision; its commit is a hash of the names and bytes in it
    folder/datasets/ORG/NAME/REVISION/...  of a dataset

    GET  /api/models/ORG/NAME/revision/REVISION     JSON: sha, siblings
    HEAD, GET [/datasets]/ORG/NAME/resolve/REVISION/FILE   ETag, X-Repo-Commit; ranges; errors as X-Error-Code

`breaks` names files whose next GET ends half way, `asked` keeps every request with its range.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

API = re.compile(r"/api/models/([^/]+/[^/]+)/revision/([^/?]+)")
FILE = re.compile(r"/((?:datasets/)?[^/]+/[^/]+)/resolve/([^/]+)/([^?]+)")


def commit_of(folder: Path) -> str:
    """Return the commit of a revision: 40 hexadecimal digits."""
    digest = hashlib.sha1()
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


class Hub(ThreadingHTTPServer):
    """The server; `address` is what HF_ENDPOINT should be."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.breaks: set[str] = set()
        self.asked: list[tuple[str, str, str]] = []
        self.address = f"http://127.0.0.1:{self.server_address[1]}"

    def find(self, repository: str, revision: str) -> Path | str:
        """Return the folder of a revision or commit, or the error code."""
        place = self.folder / repository
        if not place.is_dir():
            return "RepoNotFound"
        for folder in place.iterdir():
            if revision in (folder.name, commit_of(folder)):
                return folder
        return "RevisionNotFound"


@contextmanager
def hub(folder: Path) -> Iterator[Hub]:
    """Serve a folder for a while."""
    server = Hub(folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        self.server.asked.append((self.command, self.path, self.headers.get("Range", "")))
        if found := API.match(self.path):
            self.describe(*found.groups())
        elif found := FILE.match(self.path):
            self.give(*found.groups(), body=body)
        else:
            self.refuse("EntryNotFound")

    def describe(self, repository: str, revision: str) -> None:
        folder = self.server.find(repository, revision)
        if isinstance(folder, str):
            self.refuse(folder)
            return
        files = [{"rfilename": file.name} for file in sorted(folder.iterdir())]
        content = json.dumps({"id": repository, "sha": commit_of(folder), "siblings": files, "private": False}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def give(self, repository: str, revision: str, name: str, *, body: bool) -> None:
        folder = self.server.find(repository, revision)
        if isinstance(folder, str) or not (folder / name).is_file():
            self.refuse(folder if isinstance(folder, str) else "EntryNotFound")
            return
        content = (folder / name).read_bytes()
        total = len(content)
        start = int(re.sub(r"bytes=(\d+)-.*", r"\1", self.headers.get("Range", "") or "bytes=0-"))
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit_of(folder))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(total - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.end_headers()
        if not body:
            return
        if name in self.server.breaks:
            self.server.breaks.discard(name)
            self.wfile.write(content[start : start + (total - start) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self.wfile.write(content[start:])

    def refuse(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", f"{code} here")
        self.send_header("Content-Length", "0")
        self.end_headers()
