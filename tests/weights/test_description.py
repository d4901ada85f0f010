"""What a folder of weights says of itself is believed only as it was written."""

import copy
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from merclip_jax.data.view import View
from merclip_jax.errors import UserError
from merclip_jax.models.mer_clip import MerClipOptions
from merclip_jax.systems.mer_clip import MerClip
from merclip_jax.systems.system import Context
from merclip_jax.weights import bundle, convert, description, export, load, table
from merclip_jax.weights.arrays import save_weights
from merclip_jax.weights.options import InitOptions
from tests import mini
from tests.weights import made
from tests.weights.made import TINY

STATES = made.states()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with both parts, and what its system.json says."""
    path = tmp_path_factory.mktemp("described")
    source = made.save(path / "m.safetensors", STATES["mer_clip"])
    convert.write_folder(convert.convert([source]), path / "out")
    return path / "out", json.loads((path / "out/system.json").read_text())


def edited(folder, told, *, signed):
    text = description.to_json(told) if signed else json.dumps(told).encode()
    (folder / "system.json").write_bytes(text)


def uses(path):
    model = mini.model(TINY, classes=5)
    return [
        lambda: table.report(convert.convert([str(path)])),
        lambda: load.load_start(model, (4, 48, 48, 3), InitOptions(vision=str(path))),
        lambda: export.write_torch(str(path), path.with_name("back.safetensors")),
        lambda: bundle.load(path),
    ]


def leaves(value, path=()):
    """The paths of all entries of a description, folded where there are hundreds."""
    yield path
    if isinstance(value, dict):
        for key in sorted(value)[:12]:
            yield from leaves(value[key], (*path, key))
    elif isinstance(value, list) and value:
        yield from leaves(value[0], (*path, 0))


def put(told, path, value):
    *way, last = path
    for key in way:
        told = told[key]
    if value is KeyError:
        del told[last]
    else:
        told[last] = value


@pytest.mark.parametrize("value", [KeyError, None, [], {}, "x", -1, 10**12])
def test_nothing_of_it_may_be_changed(folder, value):
    """Every entry, the account of its sources among them, is part of the checksum."""
    path, told = folder
    paths = [p for p in leaves(told) if p]
    assert len(paths) > 90
    for way in paths:
        changed = copy.deepcopy(told)
        put(changed, way, value)
        if changed == told:
            continue
        edited(path, changed, signed=False)
        with pytest.raises(UserError, match=r"out(/system.json)?: "):
            bundle.read(path)


ODD = [
    *[(("modules", "video", key), KeyError) for key in ("width", "encoder", "classes")],
    *[(("modules", "text", key), KeyError) for key in ("vocabulary", "out", "family")],
    (("modules", "video", "layers"), 10**9),
    (("modules", "video", "width"), 0),
    (("modules", "video", "size"), None),
    (("modules", "video", "frozen"), 3),
    (("modules", "video", "structure"), ["ssv2"]),
    (("modules", "video"), None),
    (("modules", "video"), KeyError),
    (("lineage", "parts", "video"), KeyError),
    (("lineage", "parts", "../video"), {}),
    (("lineage", "parts", "video", "used"), None),
    (("lineage", "parts", "video", "used"), {"params/x": 3}),
    (("lineage", "parts", "video", "used"), {"params/x": "text"}),
    (("lineage", "parts", "video", "sources"), []),
    (("lineage", "parts", "video", "sources"), [{"name": "x"}]),
    (("lineage", "parts", "video", "sources", 0, "bytes"), "many"),
    (("lineage", "parts", "video", "dropped"), {"x": 3}),
    (("lineage", "sources"), None),
    (("lineage", "left"), ["x"]),
    (("sha256", "video"), KeyError),
    (("sha256", "context"), 3),
    (("system",), "mer_clip"),
    (("lineage",), KeyError),
]


@pytest.mark.parametrize("way, value", ODD)
def test_who_writes_the_checksum_too_still_gets_no_traceback(folder, way, value):
    path, told = folder
    changed = copy.deepcopy(told)
    put(changed, way, value)
    edited(path, changed, signed=True)
    for use in uses(path):
        with pytest.raises(UserError, match="out(/system.json)?: "):
            use()


def test_the_order_of_its_keys_and_its_blanks_are_free(folder):
    path, told = folder
    turned = {key: told[key] for key in reversed(told)}
    (path / "system.json").write_text(json.dumps(turned, indent=4))
    assert bundle.read(path).parts.keys() == {"video", "text"}


def test_a_folder_without_the_checksum_is_refused_by_name(folder):
    path, told = folder
    older = copy.deepcopy(told)
    older["schema"] = "merclip_jax.bundle/1"
    del older["sha256"]["description"]
    edited(path, older, signed=False)
    for use in uses(path):
        with pytest.raises(UserError, match="bundle/1'.*another version: convert its"):
            use()


def test_a_folder_that_claims_another_size_is_not_read(tmp_path):
    """Orbax gives zeros for what lacks, as many as its own metadata says."""
    source = made.save(tmp_path / "k.safetensors", STATES["kinetics"])
    convert.write_folder(convert.convert([source]), tmp_path / "m")
    arrays = bundle.read(tmp_path / "m").parts["video"].arrays
    larger = {path: np.stack([a, a]) for path, a in arrays.items()}
    shutil.rmtree(tmp_path / "m/video")
    save_weights(tmp_path / "m/video", unflatten_dict(larger, sep="/"))
    with pytest.raises(UserError, match=r"video: .* numbers, expected"):
        bundle.read(tmp_path / "m")


def test_a_context_goes_with_its_system(tmp_path):
    """Through folders that are converted; the authors' files have no place for it."""
    system = MerClip(
        classes=("a", "b"),
        epochs=3,
        model=MerClipOptions(size="tiny"),
        view=View(4, 32),
    )
    batch = {"frames": jnp.zeros((1, *system.view.shape), jnp.uint8)}
    variables = jax.tree.map(np.asarray, jax.jit(system.init)(jax.random.key(0), batch))
    context = Context(
        run={"features": np.ones((2, 3), np.float32), "deep": {"n": np.arange(4)}},
        fold={"scale": np.float32(0.5)},
    )
    member = tmp_path / "m"
    bundle.save(member, system, variables, context, name="m", lineage=["a start"])
    convert.write_folder(convert.convert([str(member)]), tmp_path / "out")
    for folder in (member, tmp_path / "out"):
        found = bundle.load(folder)[2]
        assert jax.tree.structure(found) == jax.tree.structure(context)
        jax.tree.map(np.testing.assert_array_equal, found, context)
    tensors, left = export.write_torch(str(member), tmp_path / "m.safetensors")
    assert tensors and left == ("3 constants of the run and the fold",)
    new = convert.convert([str(member)], new_head=True)
    assert new.system is None and not new.context
