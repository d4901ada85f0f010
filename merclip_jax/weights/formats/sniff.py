"""What a file is that holds no weights, told from its first bytes."""

import codecs
import re
from pathlib import Path

_PUT_BACK = "unpack it and give the file of weights inside"
_ASK = "download the weights again"
_TORCH = "save a state_dict with torch.save or safetensors and give that"
# (what a file begins with, where, what it is, what to do)
_SIGNS: tuple[tuple[bytes, int, str, str], ...] = (
    (b"version https://git-lfs.github.com", 0, "a Git LFS pointer", "run git lfs pull"),
    (b"\x1f\x8b", 0, "a gzip archive", _PUT_BACK),
    (b"BZh", 0, "a bzip2 archive", _PUT_BACK),
    (b"\xfd7zXZ\x00", 0, "an xz archive", _PUT_BACK),
    (b"\x28\xb5\x2f\xfd", 0, "a zstd archive", _PUT_BACK),
    (b"\x04\x22\x4d\x18", 0, "an lz4 archive", _PUT_BACK),
    (b"7z\xbc\xaf\x27\x1c", 0, "a 7z archive", _PUT_BACK),
    (b"Rar!", 0, "a RAR archive", _PUT_BACK),
    (b"ustar", 257, "a tar archive", _PUT_BACK),
    (b"\x89HDF\r\n\x1a\n", 0, "an HDF5 file (Keras, MATLAB)", _TORCH),
    (b"\x93NUMPY", 0, "a NumPy array (.npy)", _TORCH),
    (b"GGUF", 0, "a GGUF file (llama.cpp)", _TORCH),
    (b"ggjt", 0, "a GGML file", _TORCH),
    (b"lmgg", 0, "a GGML file", _TORCH),
    (b"TFL3", 4, "a TensorFlow Lite model", _TORCH),
    (b"\x89PNG", 0, "a PNG picture", _ASK),
    (b"\xff\xd8\xff", 0, "a JPEG picture", _ASK),
    (b"GIF8", 0, "a GIF picture", _ASK),
    (b"II*\x00", 0, "a TIFF picture", _ASK),
    (b"MM\x00*", 0, "a TIFF picture", _ASK),
    (b"RIFF", 0, "a RIFF file (AVI, WAV or WebP)", _ASK),
    (b"ftyp", 4, "an MP4 video", _ASK),
    (b"\x1a\x45\xdf\xa3", 0, "a Matroska or WebM video", _ASK),
    (b"%PDF", 0, "a PDF document", _ASK),
    (b"\xd0\xcf\x11\xe0", 0, "an old Office document", _ASK),
    (b"{\\rtf", 0, "an RTF document", _ASK),
    (b"SQLite format 3", 0, "an SQLite database", _ASK),
    (b"PAR1", 0, "a Parquet table", _ASK),
    (b"ARROW1", 0, "an Arrow table", _ASK),
    (b"MATLAB 5.0", 0, "a MATLAB file", _TORCH),
    (b"\x7fELF", 0, "a program", _ASK),
    (b"MZ", 0, "a Windows program", _ASK),
    (b"#!", 0, "a script", _ASK),
)
# (an entry that only such a zip has, what it is, what to do)
_ZIPS: tuple[tuple[str, str, str], ...] = (
    (r".*\.npy", "a NumPy archive (.npz)", _TORCH),
    (r"(.*/)?model\.weights\.h5", "a Keras model", _TORCH),
    (r"word/.*", "a Word document", _ASK),
    (r"xl/.*", "an Excel workbook", _ASK),
    (r"ppt/.*", "a PowerPoint document", _ASK),
    (r"META-INF/.*", "a Java archive", _ASK),
    (r".*\.mlmodel", "a Core ML model", _TORCH),
    (r".*(exported_program|models/model)\.json", "a torch.export program", _TORCH),
    (r".*saved_model\.pb", "a zip with a TensorFlow model", _TORCH),
)
_HEAD = 4096
_TEXT_PICKLE = re.compile(r"\([dl]p\d+\n|c[\w.]+\n[\w.]+\n(p\d+\n|\()")


def foreign(path: Path) -> str:
    """What a file is when it is no file of weights, "" when it may be one.

    Args:
        path: of the file, which may be a zip.

    Returns:
        A phrase such as "an HTML page, not weights: download the weights again".
    """
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    found = _by_sign(head) or _by_text(head) or _by_model(path, head)
    return f"{found[0]}, not weights: {found[1]}" if found else ""


def foreign_zip(names: list[str]) -> str:
    """What a zip is that torch did not write, from the names of its entries."""
    for pattern, what, remedy in _ZIPS:
        if any(re.fullmatch(pattern, name) for name in names):
            return f"{what}, not weights: {remedy}"
    inside = ", ".join(sorted(names)[:5])
    return f"a zip archive, not weights: {_PUT_BACK} ({inside})"


def _by_sign(head: bytes) -> tuple[str, str] | None:
    if not head.strip(b"\x00"):
        return "nothing but zeros", f"its download was not finished; {_ASK}"
    for sign, at, what, remedy in _SIGNS:
        if head[at : at + len(sign)] == sign:
            return what, remedy
    return None


def _by_text(head: bytes) -> tuple[str, str] | None:
    """Pages, tables and other text: what a browser or an editor saved."""
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    decoder = codecs.getincrementaldecoder("utf-16" if wide else "utf-8")()
    try:
        text = decoder.decode(head).lstrip("\ufeff")  # a cut last character may pass
    except UnicodeDecodeError:
        return None
    begins = text.lstrip().lower()
    if begins.startswith(("<!doctype html", "<html", "<head", "<script", "<!--")):
        return "an HTML page", f"the site may want a login; {_ASK}"
    if begins.startswith(("<?xml", "<svg", "<error")):
        return "an XML document", _ASK
    # Pickles of the first protocol are text, too, and may hold weights.
    control = re.search("[\x00-\x08\x0e-\x1f]", text)
    if control or _TEXT_PICKLE.match(text):
        return None
    if begins.startswith(("{", "[")):
        return "a JSON document", "give the file of weights that lies beside it"
    lines = [line for line in text.splitlines()[:6] if line.strip()]
    for separator, name in ((",", "a CSV table"), ("\t", "a table"), (";", "a table")):
        counts = {line.count(separator) for line in lines[:5]}
        if len(lines) > 1 and len(counts) == 1 and min(counts) > 0:
            return name, _ASK
    return "a text", f"it begins {text.strip()[:40]!r}; {_ASK}"


def _by_model(path: Path, head: bytes) -> tuple[str, str] | None:
    """Models of other frameworks, which have no sign of their own."""
    # Protocol buffers: field 1 of ONNX is its version, field 2 who wrote it.
    if re.match(rb"\x08[\x01-\x20]\x12.", head, re.DOTALL) or path.suffix == ".onnx":
        return "an ONNX model", _TORCH
    if re.match(rb"BM.{4}\x00{4}", head, re.DOTALL):
        return "a BMP picture", _ASK
    if path.suffix in (".pb", ".pbtxt", ".tflite"):
        return "a TensorFlow model", _TORCH
    if path.suffix == ".msgpack":
        return "a Flax msgpack file", _TORCH
    if re.search(r"\.data-\d{5}-of-\d{5}$", path.name) or path.suffix == ".meta":
        return "a part of a TensorFlow checkpoint", _TORCH
    return None
