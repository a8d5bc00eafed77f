"""Bases of the hub: fetched from HF_ENDPOINT, found in the hub's cache when offline, and never a pickle."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from pytest_socket import socket_allow_hosts

from lorasmith.config.base import ModelConfig
from lorasmith.errors import DataError, HubError
from lorasmith.models.sdxl.components import check_base, locate_base, open_components
from lorasmith.testing import pictures

NAME = "somebody/tiny-sdxl"
COMMIT = "a" * 40
LARGE = (".safetensors", ".bin", ".ckpt")


@dataclass
class Shelf:
    """A repository as the fake hub has it, and what was asked of it."""

    files: dict[str, bytes]
    asked: list[str] = field(default_factory=list[str])
    url: str = ""

    @property
    def fetched(self) -> set[str]:
        """Files whose content was asked for."""
        return {
            line.partition(f"/resolve/{COMMIT}/")[2]
            for line in self.asked
            if line.startswith("GET") and "/resolve/" in line
        }


def entry(name: str, content: bytes) -> dict[str, Any]:
    sha = hashlib.sha256(content).hexdigest()
    plain = {"type": "file", "path": name, "size": len(content), "oid": sha[:40]}
    return {**plain, "lfs": {"oid": sha, "size": len(content), "pointerSize": 130}} if name.endswith(LARGE) else plain


def answering(shelf: Shelf) -> type[BaseHTTPRequestHandler]:
    """The few of the hub's addresses that fetching asks for."""

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            shelf.asked.append(f"{self.command} {path}")
            for pattern, status in (
                (r"/api/models/somebody/gated.*", "GatedRepo"),
                (r"/api/models/nobody/.*", "RepoNotFound"),
            ):
                if re.fullmatch(pattern, path):
                    self._send(403 if status == "GatedRepo" else 404, b"{}", {"X-Error-Code": status})
                    return
            if found := re.fullmatch(rf"/api/models/{NAME}(?:/revision/(.+))?", path):
                if found[1] not in (None, "main", COMMIT):
                    self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
                    return
                siblings = [{"rfilename": name} for name in shelf.files]
                self._send(200, json.dumps({"id": NAME, "sha": COMMIT, "siblings": siblings, "tags": []}).encode())
            elif path == f"/api/models/{NAME}/tree/{COMMIT}":
                self._send(200, json.dumps([entry(*item) for item in shelf.files.items()]).encode())
            elif path.startswith(f"/{NAME}/resolve/{COMMIT}/"):
                content = shelf.files[path.partition(f"/resolve/{COMMIT}/")[2]]
                etag = hashlib.sha256(content).hexdigest()
                self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
            else:
                self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})

        def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    return Answering


def _no_time(seconds: float) -> None:
    """Nobody waits before trying again."""


@pytest.fixture
def shelf(tiny_base: Path, tmp_path: Path, socket_enabled: None, monkeypatch: pytest.MonkeyPatch) -> Generator[Shelf]:
    """A mirror of the hub on 127.0.0.1 with one base, pickles and a whole checkpoint beside it, and an empty cache."""
    del socket_enabled
    socket_allow_hosts(["127.0.0.1"], allow_unix_socket=True)
    files = {
        path.relative_to(tiny_base).as_posix(): path.read_bytes() for path in tiny_base.rglob("*") if path.is_file()
    }
    files |= {"unet/diffusion_pytorch_model.bin": b"\x80\x02", "text_encoder/pytorch_model.bin": b"\x80\x02"}
    files |= {
        "whole.ckpt": b"PK",
        "whole.safetensors": b"\0" * 99,
        "unet/diffusion_pytorch_model.fp16.safetensors": b"\0",
    }
    files |= {"unet/custom.py": b"raise SystemExit('run')", "README.md": b"# A base"}
    found = Shelf(files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), answering(found))
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    addresses = f"{found.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", found.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", addresses)
    unhurried = SimpleNamespace(sleep=_no_time, time=time.time, monotonic=time.monotonic)
    monkeypatch.setattr("huggingface_hub.utils._http.time", unhurried)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield found
    server.shutdown()
    server.server_close()


def test_a_plan_fetches_small_files_and_a_run_its_weights_from_the_mirror(shelf: Shelf) -> None:
    model = ModelConfig(base=NAME)
    place = locate_base(model, with_weights=False)
    check_base(model, place)
    assert all(name.endswith((".json", ".txt")) for name in shelf.fetched)
    assert {"model_index.json", "unet/config.json", "scheduler/scheduler_config.json"} <= shelf.fetched
    assert (place / "tokenizer" / "vocab.json").is_file()
    opened = open_components(model, dtype=torch.float32)
    assert sum(tensor.numel() for tensor in opened.unet.parameters()) > 100_000
    weights = {name for name in shelf.fetched if not name.endswith((".json", ".txt"))}
    assert weights == {
        *("unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"),
        *("text_encoder/model.safetensors", "text_encoder_2/model.safetensors"),
    }


def test_what_was_fetched_opens_without_the_hub(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ModelConfig(base=NAME)
    open_components(model, dtype=torch.float32)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    shelf.asked.clear()
    check_base(model, locate_base(model, with_weights=False))
    open_components(model, dtype=torch.float32)
    assert shelf.asked == []


def test_a_commit_can_be_named_and_another_revision_is_refused(shelf: Shelf) -> None:
    assert locate_base(ModelConfig(base=NAME, revision=COMMIT), with_weights=False).name == COMMIT
    with pytest.raises(HubError, match=r"has no revision 'gone' \(model\.revision\)"):
        locate_base(ModelConfig(base=NAME, revision="gone"), with_weights=False)


@pytest.mark.parametrize(
    ("base", "says"),
    [
        ("nobody/nothing", r"the hub has no 'nobody/nothing' \(model\.base\)\. Check the spelling"),
        ("somebody/gated", r"'somebody/gated' is gated.* Accept its terms at http://127.* `hf auth login`"),
        ("some body/x y", r"is no name of a hub repository"),
    ],
)
def test_what_the_hub_refuses_is_said(shelf: Shelf, base: str, says: str) -> None:
    with pytest.raises(HubError, match=says):
        locate_base(ModelConfig(base=base), with_weights=False)


def test_a_variant_that_the_base_lacks_is_said_with_what_there_is(shelf: Shelf) -> None:
    with pytest.raises(DataError, match=r"vae holds no weights of the variant bf16|unet holds no"):
        open_components(ModelConfig(base=NAME, variant="bf16"), dtype=torch.float32)


def test_a_base_with_pickles_alone_is_refused_and_none_is_fetched(shelf: Shelf) -> None:
    shelf.files = {name: content for name, content in shelf.files.items() if not name.endswith(".safetensors")}
    with pytest.raises(DataError, match="holds no safetensors weights"):
        open_components(ModelConfig(base=NAME), dtype=torch.float32)
    assert not any(name.endswith((".bin", ".ckpt", ".py")) for name in shelf.fetched)


def test_a_mirror_that_does_not_answer_is_named(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match=r"could not be fetched.*Check the connection to http://127\.0\.0\.1:9"):
        locate_base(ModelConfig(base=NAME), with_weights=False)


@pytest.fixture
def cached(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache as another program left it, with sockets denied and the hub off."""
    snapshot = tmp_path / "cache" / f"models--{NAME.replace('/', '--')}" / "snapshots" / COMMIT
    shutil.copytree(tiny_base, snapshot)
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return snapshot


def test_a_cached_base_opens_offline(cached: Path) -> None:
    model = ModelConfig(base=NAME)
    assert locate_base(model) == cached
    open_components(model, dtype=torch.float32)


def test_a_base_that_is_not_cached_is_refused_offline(cached: Path) -> None:
    with pytest.raises(
        HubError, match=r"not in the hub's cache, and HF_HUB_OFFLINE forbids.*hf download somebody/else"
    ):
        locate_base(ModelConfig(base="somebody/else"))


def test_a_cached_base_without_its_weights_is_refused_offline(cached: Path) -> None:
    (cached / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(DataError, match="unet holds no safetensors weights"):
        open_components(ModelConfig(base=NAME), dtype=torch.float32)


def dry_run(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`lorasmith train --dry-run` as a process of its own, which reads the environment as huggingface_hub does."""
    pictures(folder / "pictures", 2, captions=["a photo of TOK"])
    words = ["--data.instance-images", "pictures", "--output.folder", "run", "--data.cache-folder", "latents"]
    return subprocess.run(
        [sys.executable, "-m", "lorasmith.cli.app", "train", "--dry-run", "--model.base", NAME, *words],
        cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_CACHE": str(folder / "cache"), **environment},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_the_command_line_plans_offline_with_hf_hub_offline(cached: Path, tmp_path: Path) -> None:
    done = dry_run(tmp_path, {"HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr
    assert NAME in done.stdout + done.stderr


def test_the_command_line_asks_the_mirror_of_hf_endpoint(shelf: Shelf, tmp_path: Path) -> None:
    done = dry_run(tmp_path, {"HF_ENDPOINT": shelf.url, "HF_HUB_DISABLE_XET": "1"})
    assert done.returncode == 0, done.stderr
    assert "unet/config.json" in shelf.fetched


def test_code_beside_a_base_is_never_run(tiny_base: Path, tmp_path: Path) -> None:
    """A folder may bring classes of its own, which `trust_remote_code` would run."""
    base, mark = tmp_path / "base", tmp_path / "was-run"
    shutil.copytree(tiny_base, base)
    code = f"open({str(mark)!r}, 'w').close()\nclass Custom: pass\n"
    for home in (base, base / "unet", base / "vae", base / "text_encoder", base / "tokenizer"):
        for name in ("pipeline.py", "custom.py", "modeling_custom.py", "__init__.py"):
            (home / name).write_text(code)
    for config in (base / "text_encoder" / "config.json", base / "tokenizer" / "tokenizer_config.json"):
        classes = {
            "AutoModel": "custom.Custom",
            "AutoConfig": "custom.Custom",
            "AutoTokenizer": ["custom.Custom", None],
        }
        config.write_text(json.dumps({**json.loads(config.read_text()), "auto_map": classes}))
    index = json.loads((base / "model_index.json").read_text())
    index |= {"_class_name": ["pipeline", "Custom"], "unet": ["custom", "Custom"]}
    (base / "model_index.json").write_text(json.dumps(index))
    model = ModelConfig(base=str(base))
    check_base(model, base)
    open_components(model, dtype=torch.float32)
    assert not mark.exists()
