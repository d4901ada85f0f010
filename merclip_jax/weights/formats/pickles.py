"""Pickles read as data: nothing is imported and nothing is called.

Python's own unpickler imports what a pickle names and calls it. Here every name is a
`Name`, every object of a class a `Stub` that holds what was pickled, and the few
functions that make tensors are handed in by the caller.
"""

import pickletools
from collections.abc import Callable, Mapping

from merclip_jax.weights.formats.bounded import Bounded

OPCODES = 2_000_000  # of one pickle; a training's whole state has some 100,000
BYTES = 2**28  # of one pickle beside tensors: what trainers log is a few MiB
_SCALARS = (str, bytes, int, float, bool, type(None))
# Modules whose functions no weights ever need: a pickle that names one was made to harm
# whoever loads it with pickle. Nothing of it would run here, and yet it is refused.
_HARMFUL = (
    "_io _posixsubprocess ctypes ftplib imp importlib io nt os pdb pip posix pty runpy "
    "shutil smtplib socket subprocess sys timeit urllib webbrowser"
).split()
_HARMFUL_BUILTINS = "breakpoint compile eval exec execfile open".split()
_HARMLESS = {"io.BytesIO", "io.StringIO", "os._Environ", "_io.BytesIO"}


class Damaged(ValueError):
    """Bytes that no writer of this format makes; the message says what is odd."""


class Harmful(ValueError):
    """A pickle that would run a program if it were loaded by pickle."""


class Name:
    """A class or function that a pickle names, never looked up."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name


class Stub:
    """Stands for an object: its class's name and what was pickled of it, all inert."""

    __slots__ = ("args", "items", "name", "state")

    def __init__(self, name: str, args: tuple = ()):
        self.name, self.args = name, args
        self.state: object = None
        self.items: dict = {}


class _Mark:
    """Where a group of arguments begins on the stack."""


_MARK = _Mark()


def load(
    stream: Bounded,
    *,
    functions: Mapping[str, Callable],
    persistent: Callable[[object], object] | None = None,
) -> object:
    """The object that one pickle describes.

    Args:
        stream: at its first byte; left behind its last.
        functions: by dotted name those that are called, of this project alone.
        persistent: makes an object of a persistent id.

    Returns:
        Plain values, lists, tuples and dicts, what the functions make, and stubs.

    Raises:
        Damaged: it is no whole pickle, or larger than any training's state.
        Harmful: it names a function that only an attack needs.
    """
    stream.allow(BYTES)
    machine = _Machine(functions, persistent)
    try:
        machine.run(stream)
        (result,) = machine.stack
        return result
    except (Damaged, Harmful):
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"no whole pickle: {error}") from error


class _Machine:
    """The stack machine that pickles are programs of."""

    def __init__(self, functions, persistent):
        self.stack: list = []
        self.memo: dict = {}
        self.functions, self.persistent = functions, persistent

    def run(self, stream: Bounded) -> None:
        """Does every step; Damaged where its arguments are odd."""
        push, pop = self.stack.append, self.stack.pop
        for count, (opcode, arg, _) in enumerate(pickletools.genops(stream)):
            if count > OPCODES:
                raise Damaged(f"a pickle of more than {OPCODES} steps")
            op = opcode.name
            if op in _CONSTANTS:
                push(_CONSTANTS[op]())
            elif op in _VALUES:
                push(arg)
            elif op in ("BINPUT", "LONG_BINPUT", "PUT"):
                self.memo[arg] = self.stack[-1]
            elif op == "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            elif op in ("BINGET", "LONG_BINGET", "GET"):
                push(self.memo[arg])
            elif op in ("TUPLE1", "TUPLE2", "TUPLE3"):
                push(tuple(self.taken(int(op[-1]))))
            elif op == "TUPLE":
                push(tuple(self.marked()))
            elif op in ("LIST", "FROZENSET"):  # sets as lists: nothing is hashed
                push(self.marked())
            elif op == "DICT":
                push(_set({}, self.marked()))
            elif op == "APPEND":
                _extend(self.stack[-2], [pop()])
            elif op in ("APPENDS", "ADDITEMS"):
                found = self.marked()
                _extend(self.stack[-1], found)
            elif op == "SETITEM":
                found = self.taken(2)
                _set(self.stack[-1], found)
            elif op == "SETITEMS":
                found = self.marked()
                _set(self.stack[-1], found)
            elif op == "BUILD":
                state = pop()
                # A dict's own attributes, such as `_metadata`, are no entries of it.
                if isinstance(self.stack[-1], Stub):
                    self.stack[-1].state = state
            elif op in ("GLOBAL", "STACK_GLOBAL"):
                push(_name(str(arg).split(" ", 1) if arg else self.taken(2)))
            elif op in ("REDUCE", "NEWOBJ"):
                push(self.called(*self.taken(2)))
            elif op == "NEWOBJ_EX":
                kind, args, _ = self.taken(3)
                push(self.called(kind, args))
            elif op == "INST":
                push(self.called(_name(str(arg).split(" ", 1)), tuple(self.marked())))
            elif op == "OBJ":
                kind, *args = self.marked()
                push(self.called(kind, tuple(args)))
            elif op in ("PERSID", "BINPERSID"):
                if self.persistent is None:
                    raise Damaged("a persistent id, which only torch's files have")
                push(self.persistent(arg if op == "PERSID" else pop()))
            elif op == "MARK":
                push(_MARK)
            elif op == "POP":
                pop()
            elif op == "POP_MARK":
                self.marked()
            elif op == "DUP":
                push(self.stack[-1])
            elif op not in ("PROTO", "FRAME", "STOP"):
                raise Damaged(f"{op}: nothing that weights are saved with")

    def taken(self, count: int) -> list:
        """The last entries of the stack, in their order."""
        if len(self.stack) < count:
            raise Damaged("fewer arguments than a step needs")
        found = self.stack[-count:]
        del self.stack[-count:]
        return found

    def marked(self) -> list:
        """What lies above the last mark."""
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is _MARK:
                found = self.stack[at + 1 :]
                del self.stack[at:]
                return found
        raise Damaged("no mark")

    def called(self, kind: object, args: object) -> object:
        """What the caller's function makes, or a stub."""
        if not isinstance(args, tuple):
            raise Damaged("arguments that are no tuple")
        if not isinstance(kind, Name):
            return Stub("an object that was called", args)
        if kind.name in self.functions:
            return self.functions[kind.name](*args)
        return Stub(kind.name, args)


_CONSTANTS: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
}
_VALUES = frozenset(
    (
        "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING "
        "SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE "
        "BINUNICODE SHORT_BINUNICODE BINUNICODE8"
    ).split()
)


def _name(parts: list) -> Name:
    module, name = parts
    if not (isinstance(module, str) and isinstance(name, str)):
        raise Damaged("a name that is no text")
    dotted = f"{module}.{name}"
    harmful = module.split(".")[0] in _HARMFUL
    if module in ("builtins", "__builtin__"):
        harmful = name in _HARMFUL_BUILTINS or name.startswith("__")
    if harmful and dotted not in _HARMLESS:
        raise Harmful(dotted)
    return Name(dotted)


def _extend(target: object, values: list) -> None:
    # Of other classes' lists nothing is kept: no weights are in any.
    if isinstance(target, list):
        target.extend(values)
    elif not isinstance(target, Stub):
        raise Damaged(f"entries for a {type(target).__name__}")


def _set(target: object, pairs: list) -> object:
    entries = target.items if isinstance(target, Stub) else target
    if not isinstance(entries, dict) or len(pairs) % 2:
        raise Damaged(f"keys for a {type(target).__name__}")
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        # Other keys would be hashed, and a tuple of tuples can take ages to hash.
        plain = isinstance(key, _SCALARS)
        entries[key if plain else Stub(f"a {type(key).__name__} as a key")] = value
    return target
