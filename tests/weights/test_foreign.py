"""Files that hold no weights at all are named for what they are."""

import gzip
import io
import json
import os
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from merclip_jax.errors import UserError
from merclip_jax.text.tokenizer import LARGEST
from merclip_jax.weights import convert, hub, sources
from merclip_jax.weights.formats import archive as archives
from merclip_jax.weights.formats import safetensors, shards
from tests.weights import made, torch_files
from tests.weights.test_checkpoints import UNIFORMER


def npz():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.zeros(2**20))
    return buffer.getvalue()


def tar():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        file.addfile(tarfile.TarInfo("weights.pth"))
    return buffer.getvalue()


def zipped(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, b"x")
    return buffer.getvalue()


FILES = [
    (b"<!DOCTYPE html><html>Sign in</html>", "an HTML page"),
    (b"\n\n  <HTML lang=en><body>404", "an HTML page"),
    (b"\xef\xbb\xbf<html>", "an HTML page"),
    (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "an XML document"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    (gzip.compress(b"x", mtime=0), "a gzip archive"),
    (tar(), "a tar archive"),
    (b"7z\xbc\xaf\x27\x1c\x00\x04", "a 7z archive"),
    (b"Rar!\x1a\x07\x01\x00", "a RAR archive"),
    (b"BZh91AY&SY", "a bzip2 archive"),
    (b"\xfd7zXZ\x00\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd\x24", "a zstd archive"),
    (zipped("weights/epoch_3.pth"), r"a zip archive.*weights/epoch_3.pth"),
    (zipped("config.json", "model.weights.h5"), "a Keras model"),
    (zipped("word/document.xml"), "a Word document"),
    (zipped("xl/workbook.xml"), "an Excel workbook"),
    (npz(), "a NumPy archive"),
    (b"\x93NUMPY\x01\x00", "a NumPy array"),
    (b"\x08\x07\x12\x07pytorch\x1a\x0513.0", "an ONNX model"),
    (b"\x89HDF\r\n\x1a\n\x00", "an HDF5 file"),
    (b"GGUF\x03\x00\x00\x00", "a GGUF file"),
    (b"\x1c\x00\x00\x00TFL3", "a TensorFlow Lite model"),
    (b'{"hidden_act": "quick_gelu"}', "a JSON document"),
    (b"[1, 2]", "a JSON document"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff\xe0\x00\x10JFIF", "a JPEG picture"),
    (b"\x00\x00\x00\x20ftypisom", "an MP4 video"),
    (b"%PDF-1.7\n", "a PDF document"),
    (b"subject,onset,apex\ns1,3,9\ns2,4,8\n", "a CSV table"),
    (b"subject\tonset\ns1\t3\n", "a table"),
    ("clé;valeur\na;1\nb;2\n".encode(), "a table"),
    ("\ufeffsubject,onset\ns1,3\n".encode("utf-16"), "a CSV table"),
    (b"import torch\nmodel = None\n", "a text, .*begins 'import torch"),
    (b"wget: unable to resolve host", "a text"),
    (b"\x7fELF\x02", "a program"),
    (b"MZ\x90\x00", "a Windows program"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (bytes(5000), "nothing but zeros"),
]


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content, message", FILES)
def test_what_is_no_weights_is_named(content, message, name, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: (?s:.*){message}"):
        sources.open_source(str(path))


def test_formats_that_only_names_tell(tmp_path):
    for name, what in [
        ("m.onnx", "an ONNX model"),
        ("saved_model.pb", "a TensorFlow model"),
        ("flax_model.msgpack", "a Flax msgpack file"),
        ("model.ckpt.data-00000-of-00001", "a part of a TensorFlow checkpoint"),
    ]:
        (tmp_path / name).write_bytes(b"\xde\xad\x00\x01\xff\xfe")
        with pytest.raises(UserError, match=f"{name}: {what}, not weights"):
            sources.open_source(str(tmp_path / name))


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "w.pth")
    for path in (str(tmp_path / "w.pth"), "/dev/null"):
        with pytest.raises(UserError, match=f"{path}: neither a file nor a folder"):
            sources.open_source(path)


def test_weights_are_not_taken_for_something_else(tmp_path):
    """By content, whatever they are called."""
    for name in ("a.json", "b.html", "c", "d.tar"):
        torch_files.save(tmp_path / name, UNIFORMER)
        assert not sources.open_source(str(tmp_path / name)).problems
        made.save(tmp_path / name, UNIFORMER)
        assert not sources.open_source(str(tmp_path / name)).problems


def test_headers_and_lists_of_gigabytes(tmp_path):
    path = tmp_path / "w.safetensors"
    for length in (2**63, 2**33, 2**31):
        with open(path, "wb") as file:
            file.write(struct.pack("<Q", length) + b"{")
            if length < 2**32:  # sparse: the bytes are there and take no room
                file.truncate(length + 16)
        with pytest.raises(UserError, match="w.safetensors: .*(too large|at most)"):
            sources.open_source(str(path))
    assert safetensors.HEADER < 2**25
    index = tmp_path / "model.safetensors.index.json"
    with open(index, "wb") as file:
        file.truncate(shards.JSON + 1)
    with pytest.raises(UserError, match=r"index.json: a JSON file of .* at most"):
        sources.open_source(str(index))


def test_a_zip_that_claims_a_huge_list_of_entries(tmp_path):
    path = tmp_path / "w.pth"
    torch_files.save(path, UNIFORMER)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.rfind(b"PK\x05\x06") + 12, archives.DIRECTORY + 1)
    path.write_bytes(data)
    with pytest.raises(UserError, match="w.pth: a zip's list of entries of .* at most"):
        sources.open_source(str(path))


def test_text_that_inflates(tmp_path):
    path = tmp_path / "bpe_simple_vocab_16e6.txt.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(LARGEST // 2**20 + 1):
            file.write(b" " * 2**20)
    with pytest.raises(
        UserError, match="vocab_16e6.txt.gz: more than .* bytes of text"
    ):
        convert.convert([str(path)])


def test_a_deep_configuration(tmp_path):
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="config.json: not whole"):
        hub.check_activation(tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"hidden_act": "quick_gelu"}))
    hub.check_activation(tmp_path / "model.safetensors")
