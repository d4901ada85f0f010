"""Tensors as torch's pickles describe them: where their numbers lie, in which order."""

import dataclasses
import math
from collections.abc import Callable

import ml_dtypes
import numpy as np

from merclip_jax.weights.formats.pickles import Damaged, Name, Stub

# torch's names: of a typed storage, of a type, and what NumPy calls it.
_TYPES = {
    "DoubleStorage": ("float64", np.float64),
    "FloatStorage": ("float32", np.float32),
    "HalfStorage": ("float16", np.float16),
    "BFloat16Storage": ("bfloat16", ml_dtypes.bfloat16),
    "LongStorage": ("int64", np.int64),
    "IntStorage": ("int32", np.int32),
    "ShortStorage": ("int16", np.int16),
    "CharStorage": ("int8", np.int8),
    "ByteStorage": ("uint8", np.uint8),
    "BoolStorage": ("bool", np.bool_),
    # Read so that a file with them beside its weights is whole; no weights here.
    "ComplexFloatStorage": ("complex64", np.complex64),
    "ComplexDoubleStorage": ("complex128", np.complex128),
    "QUInt8Storage": ("quint8", np.uint8),
    "QInt8Storage": ("qint8", np.int8),
    "QInt32Storage": ("qint32", np.int32),
}
_BY_STORAGE = {kind: np.dtype(found) for kind, (_, found) in _TYPES.items()}
_BY_NAME = {f"torch.{name}": np.dtype(found) for name, found in _TYPES.values()}
_BY_NAME |= {f"torch.uint{n}": np.dtype(f"uint{n}") for n in (16, 32, 64)}
_NUMPY = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


@dataclasses.dataclass(eq=False)
class Storage:
    """The numbers of one or several tensors.

    `data` gives their bytes, checked, when the first tensor is wanted: a training's
    optimiser, which is never wanted, is never read. `dtype` is None of bytes whose
    tensors say their type.
    """

    dtype: np.dtype | None
    data: Callable[[], memoryview] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor that was described and not yet read."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers, each counted once per entry."""
        return math.prod(self.shape) * self.dtype.itemsize

    def array(self) -> np.ndarray:
        """Its numbers, mapped from the file; Damaged when they are not all there.

        A tensor may not have more entries than its storage has numbers: a stride of
        zero makes terabytes of four bytes.
        """
        raw = self.storage.data()
        count = len(raw) // self.dtype.itemsize
        if 0 in self.shape and max(self.shape) <= count:
            return np.empty(self.shape, self.dtype)
        # `as_strided` checks nothing: a forged stride would read the process's memory.
        last = self.offset + sum(
            (n - 1) * s for n, s in zip(self.shape, self.stride, strict=True)
        )
        if last >= count or 0 in self.shape:
            raise Damaged(f"{self.shape} reaches beyond its {count} numbers")
        if math.prod(self.shape) > count:
            raise Damaged(
                f"{self.shape} with strides {self.stride} repeats its {count} numbers; "
                "save it with .contiguous()"
            )
        numbers = np.frombuffer(raw, self.dtype, count)
        # The stride of one entry leads nowhere, and may be any number.
        steps = [
            s * self.dtype.itemsize if n > 1 else 0
            for n, s in zip(self.shape, self.stride, strict=True)
        ]
        return np.lib.stride_tricks.as_strided(
            numbers[self.offset :], self.shape, steps, writeable=False
        )


def storage_type(name: object) -> np.dtype | None:
    """The type of a storage that a pickle names; None when its tensors say it.

    Raises Damaged for what is none.
    """
    kind = name.name.rpartition(".")[2] if isinstance(name, Name) else str(name)
    if kind == "UntypedStorage":
        return None
    if kind not in _BY_STORAGE:
        raise Damaged(f"{kind}: expected a storage of numbers")
    return _BY_STORAGE[kind]


def _tensor(storage, offset, size, stride, *_) -> Tensor:
    dtype = getattr(storage, "dtype", None)
    return _described(storage, offset, size, stride, dtype)


def _untyped(storage, offset, size, stride, _grad, _hooks, dtype, *_) -> Tensor | Stub:
    found = _BY_NAME.get(dtype.name)
    if found is None:
        return Stub(f"a tensor of {dtype.name}")
    return _described(storage, offset, size, stride, found)


def _described(storage, offset, size, stride, dtype) -> Tensor:
    if isinstance(storage, Stub) and storage.name == "torch.storage._load_from_bytes":
        raise Damaged(
            "its tensors were written by pickle.dump, each in a file of its own; load "
            "it where it was made and write it with torch.save"
        )
    if not (isinstance(storage, Storage) and isinstance(dtype, np.dtype)):
        raise Damaged("a tensor without a storage")
    size, stride = tuple(size), tuple(stride)
    odd = [n for n in (offset, *size, *stride) if type(n) is not int or n < 0]
    if odd or len(size) != len(stride) or len(size) > 32:
        raise Damaged(f"a tensor of size {size}, strides {stride}, offset {offset}")
    return Tensor(storage, offset, size, stride, dtype)


def _again(function, _type, args, *_) -> object:
    """What a tensor with attributes of its own was rebuilt with."""
    if isinstance(function, Name) and function.name in FUNCTIONS:
        return FUNCTIONS[function.name](*args)
    return Stub("a tensor of a class of its own")


def _encoded(text, encoding) -> bytes:
    """How Python 3 writes a Python 2 string of bytes."""
    if encoding not in ("latin1", "latin-1") or not isinstance(text, str):
        raise Damaged(f"text in {encoding}")
    return text.encode("latin-1")


def numpy_array(stub: Stub) -> np.ndarray | None:
    """The array that was pickled by NumPy, None when it is none of plain numbers.

    Raises Damaged when its bytes are more or fewer than its shape says.
    """
    state = stub.state
    if stub.name != "numpy.ndarray" or not isinstance(state, tuple) or len(state) != 5:
        return None
    _, shape, dtype, fortran, data = state
    code = dtype.args[0] if isinstance(dtype, Stub) and dtype.args else ""
    order = dtype.state[1] if getattr(dtype, "state", None) else "|"
    if code not in _NUMPY or not isinstance(data, bytes) or order not in "<|=":
        return None
    kind = np.dtype(code)
    sizes = [n for n in shape if type(n) is int and n >= 0]
    if len(sizes) != len(shape) or math.prod(sizes) * kind.itemsize != len(data):
        raise Damaged(f"a NumPy array {shape} of {len(data)} bytes")
    return np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")


FUNCTIONS: dict[str, Callable] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _untyped,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
    "torch._utils._rebuild_device_tensor_from_numpy": lambda array, *_: array,
    "torch._tensor._rebuild_from_type_v2": _again,
    "torch.jit._pickle.restore_type_tag": lambda value, *_: value,
    **{
        f"torch.jit._pickle.build_{of}list": lambda values: values
        for of in ("int", "double", "bool", "tensor")
    },
    "collections.OrderedDict": lambda *pairs: {str(k): v for p in pairs for k, v in p},
    "collections.defaultdict": lambda *_: {},
    "_codecs.encode": _encoded,
    "numpy.core.multiarray._reconstruct": lambda *_: Stub("numpy.ndarray"),
    "numpy._core.multiarray._reconstruct": lambda *_: Stub("numpy.ndarray"),
    "copy_reg._reconstructor": lambda kind, *_: Stub(kind.name),
    "copyreg._reconstructor": lambda kind, *_: Stub(kind.name),
}
