"""Torch's files written without torch: the steps of their pickles, one by one."""

import dataclasses
import pickle
import struct
import zipfile

import numpy as np

STORAGES = {
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "float64": "DoubleStorage",
    "int64": "LongStorage",
    "uint8": "ByteStorage",
}
MAGIC = 0x1950A86A20F9469CFC6C


@dataclasses.dataclass(eq=False)
class Foreign:
    """An object of a class: what calls it, with which arguments, and its state."""

    name: str
    args: tuple = ()
    state: object = None
    items: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(eq=False)
class View:
    """A tensor over another one's numbers, with any size and strides."""

    of: np.ndarray
    size: tuple
    stride: tuple
    offset: int = 0


class Steps:
    """The steps of one pickle; `storages` are the numbers of its tensors."""

    def __init__(self, *, legacy=False):
        self.storages, self.legacy = [], legacy

    def dump(self, value):
        return b"\x80\x02" + self.steps(value) + b"."

    def steps(self, value):
        if isinstance(value, Foreign):
            return self.foreign(value)
        if isinstance(value, np.ndarray | View):
            return self.tensor(value)
        if isinstance(value, dict):
            pairs = b"".join(self.steps(k) + self.steps(v) for k, v in value.items())
            return b"}(" + pairs + b"u"
        if isinstance(value, list):
            return b"](" + b"".join(map(self.steps, value)) + b"e"
        if isinstance(value, tuple):
            return b"(" + b"".join(map(self.steps, value)) + b"t"
        if isinstance(value, str):
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        return pickle.dumps(value, 2)[2:-1]  # a number: no memo, one step

    def foreign(self, value):
        module, _, name = value.name.rpartition(".")
        made = f"c{module}\n{name}\n".encode() + self.steps(value.args) + b"R"
        if value.items:
            made += self.steps(value.items)[1:]  # the same steps, on the object
        return made if value.state is None else made + self.steps(value.state) + b"b"

    def tensor(self, value):
        if not isinstance(value, View):
            steps = tuple(s // value.itemsize for s in value.strides)
            value = View(value, value.shape, steps)
        keys = [id(array) for array in self.storages]
        if id(value.of) not in keys:
            self.storages.append(value.of)
            keys.append(id(value.of))
        key = str(keys.index(id(value.of)))
        kind = f"ctorch\n{STORAGES[value.of.dtype.name]}\n".encode()
        pid = b"(" + self.steps("storage") + kind + self.steps(key)
        pid += self.steps("cpu") + self.steps(value.of.size)
        pid += (self.steps(None) if self.legacy else b"") + b"tQ"
        rest = self.steps(value.offset) + self.steps(value.size)
        rest += self.steps(value.stride) + b"\x89}t"
        return b"ctorch._utils\n_rebuild_tensor_v2\n(" + pid + rest + b"R"


def save(path, value, *, steps=None, packed=zipfile.ZIP_STORED, extra=()):
    """A file as `torch.save` writes it; returns its path as a source."""
    made = Steps()
    data = steps or made.dump(value)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data, packed)
        archive.writestr("archive/byteorder", b"little")
        for key, array in enumerate(made.storages):
            archive.writestr(f"archive/data/{key}", array.tobytes())
        archive.writestr("archive/version", b"3\n")
        for name, content in extra:
            archive.writestr(name, content, zipfile.ZIP_DEFLATED)
    return str(path)


def save_legacy(path, value):
    """A file as torch wrote it before 1.6."""
    made = Steps(legacy=True)
    data = made.dump(value)
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    keys = [str(i) for i in range(len(made.storages))]
    head = [pickle.dumps(v, 2) for v in (MAGIC, 1001, system)]
    tail = [struct.pack("<q", a.size) + a.tobytes() for a in made.storages]
    path.write_bytes(b"".join([*head, data, pickle.dumps(keys, 2), *tail]))
    return str(path)


def entry(path, suffix):
    """Where the bytes of an entry begin and how many there are."""
    with zipfile.ZipFile(path) as archive:
        (found,) = [i for i in archive.infolist() if i.filename.endswith(suffix)]
    data = path.read_bytes()
    head = found.header_offset
    start = head + 30 + sum(struct.unpack("<HH", data[head + 26 : head + 30]))
    return start, found.file_size
