"""Bundles and what is fetched for them: whole, or a clear word about what is wrong."""

from __future__ import annotations

import hashlib
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_omni import fetch
from edge_omni.bundle import MANIFEST, Bundle
from edge_omni.errors import BundleError, LLMError


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of the default bundle that may be damaged."""
    return Path(shutil.copytree(bundle.folder, tmp_path / "copy"))


def change_manifest(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_the_default_bundle_is_whole_and_names_every_graph(bundle: Bundle) -> None:
    bundle.verify()
    for role in bundle.manifest.graphs:
        assert bundle.path(role).name in bundle.manifest.files


def test_the_runtime_files_are_small_enough_to_carry(bundle: Bundle) -> None:
    assert sum(file.bytes for file in bundle.manifest.files.values()) <= 110e6


def test_an_unknown_bundle_is_told() -> None:
    with pytest.raises(BundleError, match="no bundle nonesuch"):
        Bundle("nonesuch")


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "vocoder.onnx").unlink()
    with pytest.raises(BundleError, match=r"vocoder\.onnx is missing"):
        Bundle(copy).verify()


def test_a_truncated_file_is_named(copy: Path) -> None:
    path = copy / "encoder.onnx"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BundleError, match=r"encoder\.onnx has 1000 bytes"):
        Bundle(copy).verify()


def test_an_altered_file_is_named(copy: Path) -> None:
    path = copy / "encoder.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"encoder\.onnx was altered"):
        Bundle(copy).verify()


def test_a_manifest_that_is_no_json_is_told(copy: Path) -> None:
    (copy / MANIFEST).write_text("{ not json")
    with pytest.raises(BundleError, match="not a manifest"):
        Bundle(copy)


@pytest.mark.parametrize("change", [{"format": 2}, {"name": None}, {"surprise": 1}])
def test_a_manifest_of_another_shape_names_the_field(copy: Path, change: dict) -> None:
    change_manifest(copy, **change)
    with pytest.raises(BundleError, match=next(iter(change))):
        Bundle(copy)


def test_a_graph_that_is_not_listed_is_told(copy: Path) -> None:
    change_manifest(copy, graphs={})
    with pytest.raises(BundleError, match="no graph for `encoder`"):
        Bundle(copy).path("encoder")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A file server on this machine: its address."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "model.gguf").write_bytes(b"not really a model" * 1000)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, directory=str(folder), **kwargs)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/model.gguf"
        httpd.shutdown()


DIGEST = hashlib.sha256(b"not really a model" * 1000).hexdigest()


def foreign_llm(folder: Path, url: str, digest: str) -> Bundle:
    reference = json.loads((folder / MANIFEST).read_text())["llm"]
    change_manifest(
        folder,
        llm={**reference, "sha256": digest, "bytes": 18_000, "sources": [{"url": url}]},
    )
    return Bundle(folder)


def test_an_llm_is_fetched_once_and_checked(
    copy: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    bundle = foreign_llm(copy, server, DIGEST)
    with pytest.raises(LLMError, match="bundle pull"):
        bundle.find_llm()
    path = bundle.pull()
    assert fetch.sha256(path) == DIGEST
    assert bundle.find_llm() == path


def test_a_fetched_file_with_another_hash_is_not_kept(
    copy: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    bundle = foreign_llm(copy, server, "0" * 64)
    with pytest.raises(LLMError, match="another hash"):
        bundle.pull()
    assert not list((tmp_path / "data" / "edge-omni").iterdir())


def test_a_server_that_is_not_there_is_told(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    bundle = foreign_llm(copy, "http://127.0.0.1:9/model.gguf", DIGEST)
    with pytest.raises(LLMError, match="could not be fetched"):
        bundle.pull()


def test_a_wrong_file_in_the_store_is_refused(
    copy: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    bundle = foreign_llm(copy, server, DIGEST)
    bundle.llm_store.parent.mkdir(parents=True)
    bundle.llm_store.write_bytes(bytes(18_000))
    with pytest.raises(LLMError, match="hash is wrong"):
        bundle.find_llm()
