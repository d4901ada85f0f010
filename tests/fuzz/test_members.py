"""Member files and run.json of any bytes are this run's own, whole, or refused."""

import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merclip_jax.data.folds import Fold, Member
from merclip_jax.training import members
from merclip_jax.training.members import MemberResult
from merclip_jax.training.workdir import Workdir

CLIPS = np.asarray(["s/1", "s/2", "s/3"])
MEMBER = Member(Fold("s", np.arange(5), np.arange(3), np.arange(0)), 0, 0)
RESULT = MemberResult(
    clip=CLIPS,
    outputs={"logits": np.ones((3, 2), np.float32), "video": np.ones((3, 4))},
    best={"logits": np.zeros((3, 2), np.float32)},
    history={"loss": np.arange(5.0), "lr": np.ones(5)},
    machines=("1 x cpu",),
)
WHOLE = members.encode(RESULT, MEMBER, "run")
places = st.integers(0, len(WHOLE) - 1)
flips = st.lists(st.tuples(places, st.integers(1, 255)), min_size=1, max_size=4)
cuts = st.tuples(places, places).map(sorted)
names = st.sampled_from(["logits", "video", "best/logits", "history/lr", "clip", "x"])
arrays = st.sampled_from(
    [
        np.zeros(3),
        np.full((3, 2), np.nan),
        np.asarray(["a", "b", "c"]),
        np.zeros((0, 2)),
        np.zeros((3, 2), complex),
        np.asarray(1),
        np.zeros((3, 2), np.int8),
    ]
)
seals = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x),
    max_leaves=4,
)


def same(found):
    np.testing.assert_array_equal(found.clip, CLIPS)
    for field in ("outputs", "best", "history"):
        ours, theirs = getattr(found, field), getattr(RESULT, field)
        assert ours.keys() == theirs.keys()
        for name, values in theirs.items():
            np.testing.assert_array_equal(ours[name], values)
    assert found.machines == RESULT.machines


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s-seed0.npz"


def decode(tally, path, data):
    path.write_bytes(data)
    with tally.case(path):
        same(members.decode(path, MEMBER, "run", CLIPS))


def test_bytes(tally, path):
    @tally.given(60)
    @given(flips | cuts)
    def run(damage):
        data = bytearray(WHOLE)
        if isinstance(damage[0], tuple):
            for place, change in damage:
                data[place] ^= change
        else:
            del data[damage[0] : damage[1]]
        decode(tally, path, bytes(data))

    run()


def test_arrays(tally, path):
    with np.load(io.BytesIO(WHOLE)) as data:
        whole = dict(data)

    @tally.given(30)
    @given(names, arrays | st.none())
    def run(name, array):
        changed = {k: v for k, v in whole.items() if k != name}
        if array is not None:
            changed[name] = array
        buffer = io.BytesIO()
        np.savez(buffer, **changed)
        decode(tally, path, buffer.getvalue())

    run()


def test_seals(tally, path):
    with np.load(io.BytesIO(WHOLE)) as data:
        whole = dict(data)
    seal = json.loads(str(whole["seal"]))

    @tally.given(30)
    @given(st.sampled_from([*seal, "other"]), seals)
    def run(key, value):
        buffer = io.BytesIO()
        changed = seal | {key: value}
        np.savez(buffer, **whole | {"seal": np.asarray(json.dumps(changed))})
        path.write_bytes(buffer.getvalue())
        with tally.case(path):
            same(members.decode(path, MEMBER, "run", CLIPS))

    run()


def test_archives(tally, path):
    """Zip files of anything: no array in them, or one that is none."""

    @tally.given(20)
    @given(st.dictionaries(st.text("ab/.npy", min_size=1), st.binary(max_size=50)))
    def run(files):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        decode(tally, path, buffer.getvalue())

    run()


def test_run_json(tally, tmp_path):
    """Another run's, nobody's, or an edited one: named, and never written over."""
    identity = {"train.epochs": 3, "seeds": [0, 1]}
    path = tmp_path / "run.json"
    with Workdir(tmp_path) as run:
        run.open(identity)
        run.stack(lambda: 4)
    whole = json.loads(path.read_text())

    @tally.given(60)
    @given(st.sampled_from([*whole, "other"]), seals)
    def run(key, value):
        data = json.dumps(whole | {key: value})
        path.write_text(data)
        with tally.case(tmp_path):
            with Workdir(tmp_path) as opened:
                opened.open(identity)
            assert json.loads(data) == whole
        assert path.read_text() == data

    run()
