"""Checkpoints as people have them: wrapped, nested, averaged, with much beside."""

import dataclasses

import numpy as np
import pytest

from merclip_jax.errors import UserError
from merclip_jax.weights import provenance, sources, table
from merclip_jax.weights.choice import KINDS
from tests import mini
from tests.weights import made, torch_files
from tests.weights.torch_files import Foreign

NANO = dataclasses.replace(mini.NANO, layers=2, global_layers=(0, 1))
UNIFORMER = made.fill(made.uniformer_shapes(NANO, side=2, globals_=1), 2)
MER_CLIP = made.fill(made.mer_clip_shapes(NANO), 5)
CLIP = made.fill(made.clip_shapes(NANO, side=2), 1)
EMA = {key: value * 0 + 1 for key, value in UNIFORMER.items()}


def under(prefix, state):
    return {prefix + key: value for key, value in state.items()}


def opened(tmp_path, value, **options):
    path = torch_files.save(tmp_path / "w.pth", value)
    return sources.open_source(path, **options)


def same(found, state, tmp_path):
    """What was read is what the plain state in a safetensors file gives."""
    plain = sources.open_source(made.save(tmp_path / "plain.safetensors", state))
    assert found.parts.keys() == plain.parts.keys()
    assert not found.problems
    for kind, part in plain.parts.items():
        assert found.parts[kind].arrays.keys() == part.arrays.keys()
        for path, array in part.arrays.items():
            np.testing.assert_array_equal(found.parts[kind].arrays[path], array)
    return found


@pytest.mark.parametrize(
    "prefix",
    "_orig_mod. module._orig_mod. model. base_model. clip. net. encoder.0. wrapped/ "
    "_forward_module.model. m_ model.module.".split(),
)
@pytest.mark.parametrize("state", [UNIFORMER, MER_CLIP, CLIP, made.hugging_face(CLIP)])
def test_any_common_prefix(prefix, state, tmp_path):
    found = opened(tmp_path, {"state_dict": under(prefix, state)})
    same(found, state, tmp_path)
    cut = found.files[0]["prefixes"]
    assert cut and "".join(sorted(cut)) and "cut from its keys" in table.report(found)


@pytest.mark.parametrize("prefix", ["vision_encoder.", "visual.", "text_encoder."])
def test_a_prefix_that_is_a_name_of_another_family(prefix, tmp_path):
    found = opened(tmp_path, under(f"net.{prefix}", UNIFORMER))
    same(found, UNIFORMER, tmp_path)
    assert found.parts["video"].module["family"] == "uniformer_v2"


@pytest.mark.parametrize("inside", ["_orig_mod", "module", "_fsdp_wrapped_module"])
def test_wrappers_between_names(inside, tmp_path):
    state = {
        key.replace("transformer.", f"transformer.{inside}."): value
        for key, value in MER_CLIP.items()
    }
    found = same(opened(tmp_path, state), MER_CLIP, tmp_path)
    assert found.files[0]["prefixes"] == [f"{inside}."]


def test_a_bigger_model_is_told_to_be_bigger(tmp_path):
    state = under("clip.", made.hugging_face(CLIP))
    found = opened(tmp_path, state | {"head.weight": np.zeros((3, 2), np.float32)})
    same(found, made.hugging_face(CLIP), tmp_path)
    why = found.parts["video"].dropped["head.weight"]
    assert why == "outside of clip., which holds the CLIP"


def test_two_keys_that_differ_by_a_wrapper(tmp_path):
    twice = UNIFORMER | {"transformer.module.balance": UNIFORMER["class_embedding"]}
    with pytest.raises(UserError, match=r"w.pth: 1 problem.*\n.*module.balance: one"):
        opened(tmp_path, twice)


NESTS = [
    ("state_dict",),  # Lightning, timm, mmengine
    ("model",),  # VideoMAE, torch's examples
    ("module",),  # DeepSpeed
    ("model_state_dict",),
    ("state", "model"),
    ("trainer", "callbacks", "ModelCheckpoint", "weights"),
]


@pytest.mark.parametrize("nest", NESTS)
@pytest.mark.parametrize("save", [torch_files.save, torch_files.save_legacy])
def test_nests_of_trainers(nest, save, tmp_path):
    value = UNIFORMER
    for name in reversed(nest):
        value = {"epoch": 3, name: value, "lr_scheduler": {"last_epoch": 1}}
    momentum = {i: {"exp_avg": np.zeros(2, np.float32)} for i in range(3)}
    value |= {"optimizer": {"state": momentum, "param_groups": [{"lr": 0.1}]}}
    found = sources.open_source(save(tmp_path / "w.pth", value))
    same(found, UNIFORMER, tmp_path)
    assert found.files[0]["nested"] == list(nest)


def test_an_object_that_keeps_its_weights(tmp_path):
    """A module that was saved whole, and an average as an object of a trainer's."""

    def module(state):
        inner = {}
        for key, value in state.items():
            first, _, rest = key.partition(".")
            inner.setdefault(first, {})[rest] = value
        leaves = {k: v[""] for k, v in inner.items() if "" in v}
        parts = {k: module(v) for k, v in inner.items() if "" not in v}
        parts = {"_parameters": leaves, "_buffers": {}, "_modules": parts}
        return Foreign("mine.Net", state=parts)

    same(opened(tmp_path, module(UNIFORMER)), UNIFORMER, tmp_path)
    average = Foreign("mine.Average", state={"shadow": UNIFORMER, "decay": 0.9})
    found = same(opened(tmp_path, {"ema": average}), UNIFORMER, tmp_path)
    assert found.files[0]["weights"] == ["ema.shadow", "ema"]


def test_the_image_tower_without_its_prefix(tmp_path):
    bare = {
        key.removeprefix("visual."): value
        for key, value in CLIP.items()
        if key.startswith("visual.")
    }
    whole = {key: value for key, value in CLIP.items() if key.startswith("visual.")}
    for prefix in ("", "module.", "backbone.clip."):
        found = same(opened(tmp_path, under(prefix, bare)), whole, tmp_path)
        assert found.parts["video"].module["family"] == "clip"
    # A kernel over time is another model's.
    odd = bare | {"conv1.weight": np.zeros((32, 3, 3, 16, 16), np.float32)}
    with pytest.raises(UserError, match="holds none of UniFormerV2"):
        opened(tmp_path, odd)


def test_hugging_faces_image_tower_without_its_prefix(tmp_path):
    whole = {
        key: value
        for key, value in made.hugging_face(CLIP).items()
        if key.startswith("vision_model.")
    }
    bare = {key.removeprefix("vision_model."): value for key, value in whole.items()}
    for prefix in ("", "module.", "tower."):
        same(opened(tmp_path, under(prefix, bare)), whole, tmp_path)


def test_no_end_of_models(tmp_path):
    many = {f"a{i}.transformer.temporal_cls_token": np.zeros(1) for i in range(200)}
    with pytest.raises(UserError, match="w.pth: holds 200 models"):
        opened(tmp_path, many)


BESIDE = {
    "config": Foreign("utils.easydict.EasyDict", items={"lr": 1.0}),
    "path": Foreign("pathlib.PosixPath", ("/", "x")),
    "call": Foreign("builtins.getattr", (Foreign("mine.Kind"), "x")),
    "buffer": Foreign("mmengine.logging.history_buffer.HistoryBuffer", state={"n": 1}),
    "number": Foreign("numpy._core.multiarray.scalar", (1, "x")),
    "deep": {"list": [Foreign("mine.A"), {"x": Foreign("mine.B")}]},
}


def test_objects_beside_the_tensors_do_nothing(tmp_path):
    found = opened(tmp_path, {"model": UNIFORMER, **BESIDE})
    same(found, UNIFORMER, tmp_path)
    told = found.files[0]["unknown_classes"]
    assert {"utils.easydict.EasyDict", "pathlib.PosixPath", "mine.A"} <= set(told)
    assert "nothing of them was run" in table.report(found)


def test_an_object_is_never_a_tensor(tmp_path):
    state = UNIFORMER | {"class_embedding": Foreign("mine.Tensor", (1, 2))}
    found = opened(tmp_path, state)
    assert found.parts["video"].dropped["class_embedding"] == "a mine.Tensor, no tensor"
    assert "params/encoder/class_embedding" not in found.parts["video"].arrays


@pytest.mark.parametrize(
    "name",
    ["os.system", "posix.system", "builtins.eval", "subprocess.Popen", "io.open"],
)
def test_what_would_run_a_program_is_refused(name, tmp_path):
    value = {"model": UNIFORMER, "x": Foreign(name, ("touch was_run",))}
    for save in (torch_files.save, torch_files.save_legacy):
        with pytest.raises(UserError, match=f"w.pth: refused.*{name}.*Nothing of it"):
            sources.open_source(save(tmp_path / "w.pth", value))


AVERAGED = [
    {"state_dict": UNIFORMER, "state_dict_ema": EMA},
    {"model_ema": EMA, "model": UNIFORMER},
    {"model": under("model.", UNIFORMER) | under("ema_model.module.", EMA)},
    {"student": UNIFORMER, "teacher": EMA},
    {**under("net.", UNIFORMER), **under("net_ema.", EMA)},
]


@pytest.mark.parametrize("value", AVERAGED)
def test_raw_and_averaged_weights(value, tmp_path):
    for wish, state in [("", UNIFORMER), ("raw", UNIFORMER), ("ema", EMA)]:
        found = same(opened(tmp_path, value, weights=wish), state, tmp_path)
        taken, kind = found.files[0]["weights"]
        assert kind == (wish or "raw")
        (other,) = found.files[0]["other_weights"]
        shown = table.report(found)
        assert f"weights taken: {taken} ({kind})" in shown and other in shown
        line = provenance.lineage_lines(list(found.parts.values()))[0]
        assert f"of its weights {taken} ({kind}) and not {other}" in line
        same(opened(tmp_path, value, weights=taken), state, tmp_path)
    with pytest.raises(
        UserError, match=r"w.pth: has no weights 'swa'; it holds .*\((raw|ema)"
    ):
        opened(tmp_path, value, weights="swa")


def test_only_averaged_weights(tmp_path):
    found = same(opened(tmp_path, {"state_dict_ema": EMA}), EMA, tmp_path)
    assert found.files[0]["weights"] == ["state_dict_ema", "ema"]
    with pytest.raises(
        UserError, match="has no weights 'raw'; it holds state_dict_ema"
    ):
        opened(tmp_path, {"state_dict_ema": EMA}, weights="raw")


def test_torchs_averaged_model_and_mmengines_swap(tmp_path):
    count = {"n_averaged": np.zeros((), np.int64)}
    found = opened(tmp_path, {"swa": under("module.", EMA) | count})
    assert found.files[0]["weights"] == ["swa", "ema"]
    same(found, EMA, tmp_path)
    meta = {"mmengine_version": "0.10.4"}
    swapped = {"meta": meta, "state_dict": EMA, "ema_state_dict": UNIFORMER}
    for wish, state, kind in [("", EMA, "ema"), ("raw", UNIFORMER, "raw")]:
        found = same(opened(tmp_path, swapped, weights=wish), state, tmp_path)
        assert found.files[0]["weights"][1] == kind


def test_several_of_one_kind_are_asked_about(tmp_path):
    value = {"first": UNIFORMER, "second": EMA}
    with pytest.raises(UserError, match="2 sets of weights: first.*second.*--weights="):
        opened(tmp_path, value)
    same(opened(tmp_path, value, weights="second"), EMA, tmp_path)
    assert KINDS == ("raw", "ema")


def adapted(names, *, whole=True):
    state = dict(CLIP) if whole else {}
    at = "visual.transformer.resblocks.0.attn.out_proj"
    wide = np.zeros((4, 32), np.float32)
    return state | {f"{at}.{name}": wide for name in names}


@pytest.mark.parametrize(
    "names, whole, message",
    [
        (["lora_A.default.weight", "base_layer.weight"], True, r"rank 4.*not merged"),
        (["lora_A.weight", "lora_B.weight"], False, r"rank 4.*without any weights"),
        (["lora_A", "lora_B"], True, r"rank 4.*not merged"),
        (["lora_down.weight", "lora_up.weight"], False, "rank 4"),
        (["hada_w1_a"], True, "rank unknown"),
    ],
)
def test_lora_is_told(names, whole, message, tmp_path):
    for nest in (lambda s: s, lambda s: {"model": under("base_model.model.", s)}):
        with pytest.raises(UserError, match=f"w.pth: .*LoRA.*{message}.*merge_and_unl"):
            opened(tmp_path, nest(adapted(names, whole=whole)))
