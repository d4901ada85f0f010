"""Files of weights: wrapped ones give the same weights, damaged ones never others."""

import itertools
import math
import resource

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merclip_jax.weights import sources
from merclip_jax.weights.formats import pickles
from merclip_jax.weights.match import fit
from merclip_jax.weights.problems import misfit
from tests.weights import made, torch_files
from tests.weights.test_checkpoints import CLIP, NANO, UNIFORMER
from tests.weights.torch_files import Foreign, View

MER_CLIP = made.fill(made.mer_clip_shapes(NANO), 5)
STATES = [UNIFORMER, MER_CLIP, CLIP, made.hugging_face(CLIP)]
WORDS = "model net wrapped core student backbone video a b1 _x head main ema".split()
INSIDE = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
words = st.sampled_from(WORDS)
beside = st.dictionaries(
    st.sampled_from("epoch args config hparams hyper_parameters optimizer rng".split()),
    st.one_of(
        st.integers(),
        st.text(max_size=5),
        st.builds(Foreign, st.sampled_from(["a.B", "pathlib.Path", "numpy.dtype"])),
        st.just({"state": {0: {"exp_avg": np.zeros(3, np.float32)}}}),
    ),
    max_size=4,
)


def taken(path, shapes):
    """The video part as a training takes it; UserError for whatever does not fit."""
    found = sources.open_source(str(path))
    part = fit(found.parts["video"], shapes)
    if problems := [*found.problems, *part.problems]:
        raise misfit(str(path), problems)
    return part.arrays


def read(tmp_path, state):
    """Arrays of a plain file and their shapes."""
    path = made.save(tmp_path / "plain.safetensors", state)
    arrays = {p: np.array(a) for p, a in taken_as_it_is(path).items()}
    return arrays, {p: a.shape for p, a in arrays.items()}


def taken_as_it_is(path):
    return sources.open_source(path).parts["video"].arrays


def equal(found, wanted):
    assert found.keys() == wanted.keys()
    for path, array in wanted.items():
        np.testing.assert_array_equal(found[path], array)


def test_wrapped(tally, tmp_path):
    plain = [read(tmp_path, state) for state in STATES]

    @tally.given(40)
    @given(
        st.integers(0, len(STATES) - 1),
        st.lists(words, max_size=4),
        st.sampled_from([".", "/", "_"]),
        st.lists(words, max_size=3),
        st.sampled_from(["", *INSIDE]),
        beside,
        st.sampled_from([torch_files.save, torch_files.save_legacy]),
    )
    def run(which, prefix, last, nest, inside, extra, save):
        start = ".".join(prefix) + last if prefix else ""
        state = {
            start + (k.replace(".", f".{inside}.", 1) if inside else k): v
            for k, v in STATES[which].items()
        }
        value = state
        for name in nest:
            value = {name: value, **extra}
        path = tmp_path / "w.pth"
        save(path, value)
        with tally.case(path):
            arrays, shapes = plain[which]
            equal(taken(path, shapes), arrays)

    run()
    assert tally.refused == 0  # none of these is a reason to refuse


changes = st.lists(
    st.tuples(st.sampled_from("flip zero cut insert".split()), st.floats(0, 0.999)),
    min_size=1,
    max_size=3,
)


def damaged(data, how, *, until=1.0):
    data = bytearray(data)
    for what, where in how:
        at = int(where * until * len(data))
        if what == "flip":
            data[at] ^= 1 << (at % 8)
        elif what == "zero":
            data[at : at + 16] = bytes(len(data[at : at + 16]))
        elif what == "cut":
            del data[at + 1 :]
        else:
            data[at:at] = b"\x00"
    return bytes(data)


@pytest.mark.parametrize("share, until", [(20, 1.0), (10, 0.02)])
def test_damaged_archives(tally, tmp_path, share, until):
    """Their checksums make it certain: refused, or the same numbers."""
    arrays, shapes = read(tmp_path, UNIFORMER)
    path = tmp_path / "w.pth"
    torch_files.save(path, {"state_dict": UNIFORMER})
    data = path.read_bytes()

    @tally.given(share)
    @given(changes)
    def run(how):
        # From the end as well: there lies the list of entries.
        for turned in (False, True):
            ways = [
                (what, 1 - where - 1e-9 if turned else where) for what, where in how
            ]
            path.write_bytes(damaged(data, ways, until=1.0 if turned else until))
            with tally.case(path):
                equal(taken(path, shapes), arrays)

    run()


def test_damaged_rows_of_pickles(tally, tmp_path):
    """The older format has no checksums: a cut is told, a changed number cannot be."""
    arrays, shapes = read(tmp_path, UNIFORMER)
    path = tmp_path / "w.pth"
    torch_files.save_legacy(path, UNIFORMER)
    data = path.read_bytes()

    @tally.given(10)
    @given(st.floats(0, 0.999), changes)
    def run(where, how):
        path.write_bytes(data[: int(where * len(data))])
        with tally.case(path):
            taken(path, shapes)
            raise AssertionError("a part was taken for the whole")
        path.write_bytes(damaged(data, how, until=0.05))  # where the pickles lie
        with tally.case(path):
            assert taken(path, shapes).keys() == arrays.keys()

    run()


def test_damaged_safetensors(tally, tmp_path):
    arrays, shapes = read(tmp_path, UNIFORMER)
    path = tmp_path / "w.safetensors"
    made.save(path, UNIFORMER)
    data = path.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")

    @tally.given(20)
    @given(changes)
    def run(how):
        path.write_bytes(damaged(data[:header], how) + data[header:])
        with tally.case(path):
            equal(taken(path, shapes), arrays)

    run()


STEPS = [
    *(
        bytes([code])
        for code in b"()]}.0120NtlduesaRb\x81\x85\x86\x87\x88\x8f\x90\x94Q"
    ),
    *(b"h\x00 h\x01 q\x00 q\x01 K\x05".split()),
    b"r\xff\xff\xff\x7f",
    b"\x8d\xff\xff\xff\xff\xff\x00\x00\x00",
    b"\x8a\x04\xff\xff\xff\x7f",
    b"I" + b"9" * 5000 + b"\n",
    b"X\x01\x00\x00\x00x",
    b"cos\nsystem\n",
    b"cbuiltins\ngetattr\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch\nFloatStorage\n",
    b"ccollections\nOrderedDict\n",
    b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x82\x01",
]


def test_steps_of_any_kind(tally, tmp_path):
    """No order of a pickle's steps does anything but fail."""
    path = tmp_path / "w.pth"

    @tally.given(25)
    @given(st.lists(st.sampled_from(STEPS), max_size=40), st.integers(1, 200))
    def run(steps, times):
        data = b"\x80\x02" + b"".join(steps) * times + b"."
        for zipped in (True, False):
            path.write_bytes(data)
            if zipped:
                torch_files.save(path, None, steps=data)
            with tally.case(path):
                sources.open_source(str(path))
                raise AssertionError("weights were found in no weights")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 2**19  # half a GiB, in KiB
    assert pickles.OPCODES < 2**22


sizes = st.lists(st.sampled_from([0, 1, 2, 3, 4, 10**6, 2**40]), max_size=4)
strides = st.sampled_from([0, 1, 2, 3, 4, 10**6, 2**62])


def test_views_of_any_kind(tally, tmp_path):
    """A tensor is given back as its strides say, or refused; never more than there."""
    numbers = np.arange(12, dtype=np.float32)
    path = tmp_path / "w.pth"
    # A file of 2^20 bytes beside it, so that its size alone refuses nothing.
    rest = {k: v for k, v in UNIFORMER.items() if k != "class_embedding"}

    @tally.given(30)
    @given(st.data(), sizes, st.sampled_from([0, 1, 11, 12, 2**40]))
    def run(data, size, offset):
        stride = tuple(data.draw(strides) for _ in size)
        view = View(numbers, tuple(size), stride, offset)
        torch_files.save(path, rest | {"class_embedding": view})
        with tally.case(path):
            found = taken_as_it_is(str(path))["params/encoder/class_embedding"]
            assert found.shape == tuple(size) and math.prod(size) <= 12
            assert 0 not in size or max(size) <= 12
            for at in itertools.product(*map(range, size)):
                wanted = offset + sum(i * s for i, s in zip(at, stride, strict=True))
                assert found[at] == numbers[wanted]

    run()
