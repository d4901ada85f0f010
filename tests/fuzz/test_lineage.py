"""What a folder says of itself, edited: refused, or read without a traceback."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merclip_jax.weights import bundle, convert, description, provenance
from merclip_jax.weights.fitting import describe
from tests.weights import made
from tests.weights.test_checkpoints import NANO

MER_CLIP = made.fill(made.mer_clip_shapes(NANO), 5)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    path = tmp_path_factory.mktemp("told")
    source = made.save(path / "m.safetensors", MER_CLIP)
    convert.write_folder(convert.convert([source]), path / "out")
    return json.loads((path / "out/system.json").read_text())


def somewhere(draw, told):
    """A place in a description: what holds it, and its key."""
    while True:
        keys = sorted(told) if isinstance(told, dict) else list(range(len(told)))
        key = draw(st.sampled_from(keys))
        inner = told[key]
        deeper = isinstance(inner, dict | list) and inner
        if not deeper or not draw(st.integers(0, 3)):
            return told, key
        told = inner


def edit(data, told):
    """Changes, deletes or moves one entry."""
    holder, key = somewhere(data.draw, told)
    way = data.draw(st.sampled_from(["put", "delete", "move", "rename"]))
    if way == "put":
        holder[key] = data.draw(values)
    elif way == "delete":
        del holder[key]
    elif way == "move":
        other, there = somewhere(data.draw, told)
        holder[key], other[there] = copy.deepcopy((other[there], holder[key]))
    elif isinstance(holder, dict):
        holder[data.draw(st.text(max_size=4))] = holder.pop(key)
    else:
        holder.insert(0, data.draw(values))


def test_edited(tally, told, tmp_path):
    path = tmp_path / "system.json"

    @tally.given(20)
    @given(st.data())
    def run(data):
        changed = copy.deepcopy(told)
        edit(data, changed)
        if json.dumps(changed, sort_keys=True) == json.dumps(told, sort_keys=True):
            return
        path.write_text(json.dumps(changed))
        with tally.case(path):
            description.read(path, schema=bundle.SCHEMA)
            raise AssertionError("a changed description was believed")

    run()


def test_edited_with_its_checksum(tally, told, tmp_path):
    """Nobody can tell that it was changed; whatever is believed can be shown."""
    path = tmp_path / "system.json"

    @tally.given(20)
    @given(st.data())
    def run(data):
        changed = copy.deepcopy(told)
        edit(data, changed)
        if not isinstance(changed.get("sha256"), dict):
            return
        path.write_bytes(description.to_json(changed))
        with tally.case(path):
            found, sums, _ = description.read(path, schema=bundle.SCHEMA)
            assert found.parts and all(isinstance(s, str) for s in sums.values())
            provenance.lineage_lines(list(found.parts.values()))
            provenance.identity(list(found.parts.values()))
            for module in found.modules.values():
                if module["family"] in ("mer_clip", "clip", "uniformer_v2"):
                    assert describe(module)

    run()
