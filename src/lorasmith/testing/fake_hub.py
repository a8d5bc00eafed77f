"""Owns a hub on 127.0.0.1 that keeps what it is sent in memory and fails on demand; promises no more of the real one.

It answers what uploading asks: whoami-v2, repos/create, the repository's page, paths-info, validate-yaml, preupload,
the LFS batch with its PUTs, and commit. Small files (`.md`, `.json`) are regular ones, all others large ones.
"""

import base64
import hashlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

Stage = Literal["whoami", "create", "page", "paths", "card", "preupload", "batch", "store", "commit"]
Mishap = Literal["drop", "lost", "hang", "page", "echo"] | int

TOKEN = "hf_theTokenOfTheTests0123456789"
USER = "tester"
_REGULAR = (".md", ".json", ".gitattributes", ".gitignore")


@dataclass
class FakeRepository:
    """What a repository holds now, and how often it was committed to."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    commits: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    stage: Stage
    line: str
    authorization: str | None
    size: int


class FakeHub:
    """The hub's state. `fail` lets a stage go wrong; `requests` and `repositories` say what arrived.

    Mishaps are HTTP statuses, or `drop` (the connection breaks), `lost` (it breaks once the work is done), `hang` (no
    answer, and a broken connection at `release`), `page` (a proxy's HTML instead of an answer) and `echo` (a refusal
    that repeats the login, as no server should).
    """

    def __init__(self) -> None:
        self.roles: dict[str, str] = {TOKEN: "write"}
        self.repositories: dict[str, FakeRepository] = {}
        self.stored: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.ignored: set[str] = set()
        self.url = ""
        self._mishaps: dict[Stage, list[Mishap]] = {}
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._hanging = threading.Event()

    def fail(self, stage: Stage, mishap: Mishap, *, times: int = 1000, after: int = 0) -> None:
        """Let a stage go wrong so many times, once it went well `after` times."""
        planned: list[Mishap] = [0 for _ in range(after)]
        self._mishaps[stage] = planned + [mishap for _ in range(times)]

    def recover(self) -> None:
        """Nothing goes wrong from here on, and whatever hangs goes on."""
        self._mishaps.clear()
        self.release()

    def release(self) -> None:
        """Let what hangs go on."""
        self._released.set()

    def wait_until_it_hangs(self, seconds: float) -> bool:
        """Whether somebody is waiting for an answer."""
        return self._hanging.wait(seconds)

    def counts(self) -> Mapping[Stage, int]:
        """How often each stage was asked for."""
        return Counter(request.stage for request in self.requests)

    def mishap(self, stage: Stage) -> Mishap:
        """What goes wrong at this stage now; 0 is nothing."""
        with self._lock:
            waiting = self._mishaps.get(stage)
            return waiting.pop(0) if waiting else 0

    def hang(self) -> None:
        """Wait for `release`."""
        self._hanging.set()
        self._released.wait(60)


@contextmanager
def fake_hub() -> Generator[FakeHub]:
    """A hub that runs inside the block."""
    state = FakeHub()

    class Handling(_Answering):
        hub = state

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handling)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.release()
        server.shutdown()
        server.server_close()


class _Refusal(Exception):  # noqa: N818  # an answer, not an error of ours
    """A status to answer with, and what to say."""

    def __init__(self, status: int, text: str, code: str | None = None, *, url: str | None = None) -> None:
        self.status = status
        self.code = code
        self.body = json.dumps({"error": text, **({"url": url} if url else {})}).encode()
        super().__init__(text)


class _Answering(BaseHTTPRequestHandler):
    """One connection."""

    hub: FakeHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """The account and the repository's page."""
        path = urlsplit(self.path).path
        if path == "/api/whoami-v2":
            self._answer("whoami", lambda _: self._whoami())
        else:
            repo = unquote(path.removeprefix("/api/models/").partition("/revision/")[0])
            self._answer("page", lambda _: self._page(repo))

    def do_PUT(self) -> None:
        """Storage: signed addresses, no login."""
        self._answer("store", self._store)

    def do_POST(self) -> None:
        """Everything else."""
        path = unquote(urlsplit(self.path).path)
        repo, _, rest = path.removeprefix("/api/models/").rpartition("/paths-info/")
        match path.split("/"):
            case ["", "api", "repos", "create"]:
                self._answer("create", self._create)
            case ["", "api", "validate-yaml"]:
                self._answer("card", self._card)
            case ["", "api", "models", user, name, "preupload", _]:
                self._answer("preupload", lambda body: self._preupload(f"{user}/{name}", body))
            case ["", "api", "models", user, name, "commit", _]:
                self._answer("commit", lambda body: self._commit(f"{user}/{name}", body))
            case ["", user, name, "info", "lfs", "objects", "batch"]:
                self._answer("batch", lambda body: self._batch(f"{user}/{name.removesuffix('.git')}", body))
            case _ if rest:
                self._answer("paths", lambda body: self._paths(repo, body))
            case _:
                self.send_error(404)

    def _answer(self, stage: Stage, work: Callable[[bytes], object]) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0)) or self._chunks()
        login = self.headers.get("authorization")
        self.hub.requests.append(Request(stage, f"{self.command} {self.path}", login, len(body)))
        match self.hub.mishap(stage):
            case "drop" | "lost" as how:
                if how == "lost":
                    work(body)
                self._hang_up()
                return
            case "hang":
                self.hub.hang()
                self._hang_up()
                return
            case "page":
                self._send(200, b"<html>sign in to the hotel</html>", "text/html")
                return
            case "echo":
                self._refuse(_Refusal(400, f"bad login {login}"))
                return
            case 0:
                pass
            case status:
                self._refuse(_Refusal(status, f"it is {status} today"))
                return
        try:
            self._send(200, json.dumps(work(body)).encode(), "application/json")
        except _Refusal as refusal:
            self._refuse(refusal)

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):  # who waited may be gone
            self.connection.shutdown(socket.SHUT_RDWR)

    def _chunks(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return b""
        parts: list[bytes] = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _refuse(self, refusal: _Refusal) -> None:
        code = {"X-Error-Code": refusal.code} if refusal.code else {}
        self._send(refusal.status, refusal.body, "application/json", code)

    def _send(self, status: int, body: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
        try:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # nobody waits for it any more
            self.close_connection = True

    def _role(self) -> str:
        role = self.hub.roles.get((self.headers.get("authorization") or "").removeprefix("Bearer "))
        if role is None:
            raise _Refusal(401, "Invalid credentials in Authorization header")
        return role

    def _writable(self, repo: str) -> FakeRepository:
        if self._role() == "read" or repo.partition("/")[0] not in (USER, "guild"):
            raise _Refusal(403, "you may not write here")
        if repo not in self.hub.repositories:
            raise _Refusal(404, "Repository not found", "RepoNotFound")
        return self.hub.repositories[repo]

    def _whoami(self) -> object:
        role = self._role()
        return {"name": USER, "orgs": [{"name": "guild"}], "auth": {"accessToken": {"role": role}}}

    def _page(self, repo: str) -> object:
        self._role()
        if repo not in self.hub.repositories:
            raise _Refusal(404, "Repository not found", "RepoNotFound")
        held = self.hub.repositories[repo]
        return {"id": repo, "sha": _commit_id(held), "private": held.private, "siblings": [], "tags": []}

    def _create(self, body: bytes) -> object:
        asked = json.loads(body)
        if self._role() == "read":
            raise _Refusal(403, "you may not write here")
        repo = f"{asked['organization'] or USER}/{asked['name']}"
        if repo.partition("/")[0] not in (USER, "guild"):
            raise _Refusal(403, "you may not write here")
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        url = f"{self.hub.url}/{repo}"
        if repo in self.hub.repositories:
            raise _Refusal(409, "You already created this model repo", url=url)
        self.hub.repositories[repo] = FakeRepository(private, {".gitattributes": b"*.safetensors filter=lfs\n"})
        return {"url": url}

    def _paths(self, repo: str, body: bytes) -> object:
        held = self._writable(repo)
        wanted = parse_qs(body.decode()).get("paths", [])
        return [_described(name, held.files[name]) for name in wanted if name in held.files]

    def _card(self, body: bytes) -> object:
        text = json.loads(body)["content"]
        if not text.startswith("---\n"):
            raise _Refusal(400, "the card has no front matter")
        return {"errors": [], "warnings": []}

    def _preupload(self, repo: str, body: bytes) -> object:
        held = self._writable(repo)
        return {"files": [self._mode(held, file["path"]) for file in json.loads(body)["files"]]}

    def _mode(self, held: FakeRepository, name: str) -> object:
        there = held.files.get(name)
        mode = "regular" if name.endswith(_REGULAR) else "lfs"
        known = None if there is None else _git_hash(there) if mode == "regular" else hashlib.sha256(there).hexdigest()
        return {"path": name, "uploadMode": mode, "shouldIgnore": name in self.hub.ignored, "oid": known}

    def _batch(self, repo: str, body: bytes) -> object:
        self._writable(repo)
        return {"objects": [self._action(one) for one in json.loads(body)["objects"]], "transfer": "basic"}

    def _action(self, asked: Mapping[str, Any]) -> object:
        known = {"oid": asked["oid"], "size": asked["size"]}
        if asked["oid"] in self.hub.stored:
            return known
        address = f"{self.hub.url}/storage/{asked['oid']}?X-Amz-Signature=signedForAWhile"
        return {**known, "actions": {"upload": {"href": address}}}

    def _store(self, body: bytes) -> object:
        name = urlsplit(self.path).path.rpartition("/")[2]
        if hashlib.sha256(body).hexdigest() != name:
            raise _Refusal(400, "the bytes are not those that were announced")
        self.hub.stored[name] = body
        return {}

    def _commit(self, repo: str, body: bytes) -> object:
        held = self._writable(repo)
        added: dict[str, bytes] = {}
        for line in body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            match operation["key"]:
                case "file":
                    added[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    if value["oid"] not in self.hub.stored:
                        raise _Refusal(400, f"{value['path']} was never stored")
                    added[value["path"]] = self.hub.stored[value["oid"]]
                case _:
                    pass
        held.files |= added
        held.commits.append(tuple(sorted(added)))
        return {"commitUrl": f"{self.hub.url}/{repo}/commit/{_commit_id(held)}", "commitOid": _commit_id(held)}


def _commit_id(held: FakeRepository) -> str:
    return hashlib.sha1(repr(held.commits).encode(), usedforsecurity=False).hexdigest()


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _described(name: str, content: bytes) -> object:
    plain = {"type": "file", "path": name, "size": len(content), "oid": _git_hash(content)}
    if name.endswith(_REGULAR):
        return plain
    large = {"size": len(content), "oid": hashlib.sha256(content).hexdigest(), "pointerSize": 130}
    return {**plain, "oid": _git_hash(b"a pointer"), "lfs": large}
