"""Built datasets with damaged or edited files are loaded as built, or refused."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merclip_jax import build
from merclip_jax.data.clips import DataOptions
from merclip_jax.data.records import find, load_clips
from tests import mini
from tests.fuzz.test_members import seals


@pytest.fixture
def copy(mini_data, tmp_path):
    """A dataset of its own, and how it is loaded; what loads equals the first."""
    shutil.copytree(mini_data, tmp_path / "data")
    config = mini.config(tmp_path / "data")
    view = build.options(build.View, config, "data")
    options = build.options(DataOptions, config, "data")
    whole = load_clips(options, view)
    first = whole.decode(3)

    def load():
        found = load_clips(options, view)
        for name in ("clip", "subject", "label", "positions", "spans", "au_cell"):
            np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
        assert found.fingerprint == whole.fingerprint
        np.testing.assert_array_equal(found.decode(3), first)

    # Beside a version, flows may lie that another test has computed.
    folder = find(mini.DATASET, str(tmp_path / "data"))
    return folder, load


def test_bytes(tally, copy):
    folder, load = copy
    files = {p: p.read_bytes() for p in sorted(folder.iterdir())}
    # Records are most of the bytes, and the others most of the ways to be damaged.
    place = st.tuples(st.sampled_from(sorted(files)), st.floats(0, 1, exclude_max=True))

    @tally.given(50)
    @given(place, st.sampled_from(["flip", "cut", "zero"]), st.integers(1, 255))
    def run(place, how, change):
        path, share = place
        data = bytearray(files[path])
        at = int(share * len(data))
        if how == "flip":
            data[at] ^= change
        elif how == "cut":
            del data[at:]
        else:
            data[at : at + 4096] = bytes(len(data[at : at + 4096]))
        path.write_bytes(data)
        try:
            with tally.case("synthetic/mini"):
                load()
        finally:
            path.write_bytes(files[path])

    run()


def test_metadata(tally, copy):
    """Any value for any key: the hash of the records is what binds the two."""
    folder, load = copy
    path = folder / "metadata.json"
    text = path.read_text()
    whole = json.loads(text)

    @tally.given(30)
    @given(st.sampled_from([*whole, "other"]), seals)
    def run(key, value):
        path.write_text(json.dumps(whole | {key: value}))
        try:
            with tally.case("synthetic/mini"):
                load()
        finally:
            path.write_text(text)

    run()
