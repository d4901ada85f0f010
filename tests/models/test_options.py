"""Every model option agrees with a slow NumPy reference; bad input says what is bad."""

import contextlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from merclip_jax.models import mer_clip as factory
from merclip_jax.models.attention import PackedAttention, attend
from merclip_jax.models.clip_text import ClipText
from merclip_jax.models.factorized_vit import FactorizedViT
from merclip_jax.models.layers import DropPath
from merclip_jax.models.mer_clip import MerClip
from merclip_jax.models.norms import BatchNorm
from merclip_jax.models.uniformer_v2 import UniFormerV2, UniFormerV2Classifier
from merclip_jax.models.video import linspace_rates
from merclip_jax.weights.families.clip_text import CLIP_TEXT
from merclip_jax.weights.families.mer_clip import MER_CLIP
from merclip_jax.weights.families.uniformer_v2 import UNIFORMER_V2
from merclip_jax.weights.match import to_flax
from tests.models import reference

PATCH = 4
# A few tiny programs are compiled once each: not optimising them saves most of it.
QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}


def drawn(examples):
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],  # shrinking would compile for minutes
        suppress_health_check=list(HealthCheck),
    )


@contextlib.contextmanager
def float64():
    with jax.enable_x64():
        yield


def close(ours, theirs, rtol=1e-10):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    assert np.isfinite(theirs).all()
    assert np.abs(ours - theirs).max() <= rtol * np.abs(theirs).max()


def close_trees(ours, theirs, rtol=1e-10):
    ours, theirs = flatten_dict(ours, sep="/"), flatten_dict(theirs, sep="/")
    assert ours.keys() == theirs.keys()
    for path in theirs:
        close(ours[path], theirs[path], rtol)


def shapes_of(model, *inputs, **kwargs):
    return jax.eval_shape(lambda: model.init(jax.random.key(0), *inputs, **kwargs))


def randomised(shapes, seed):
    """Every parameter and buffer random, none at its initial zero or one."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name = path.rsplit("/", 1)[-1]
        noise = rng.normal(size=leaf.shape)
        if name == "var":
            return rng.uniform(0.5, 1.5, leaf.shape)
        if name == "scale":
            return 1 + 0.3 * noise
        if name == "logit_scale":
            return 2.6 + 0.3 * noise
        if name == "dpe_kernel" or leaf.ndim < 2 or "embedding" in name:
            return 0.5 * noise
        return noise * np.prod(leaf.shape[:-1]) ** -0.5

    flat = flatten_dict(shapes, sep="/")
    tree = unflatten_dict(
        {path: draw(path, leaf) for path, leaf in flat.items()}, sep="/"
    )
    assert jax.tree.structure(tree) == jax.tree.structure(shapes)
    return tree


def clip_of(batch, frames, grid, seed=0):
    height, width = (PATCH * side for side in grid)
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, frames, height, width, 3))


def outputs(model, variables, *inputs, **kwargs):
    """Output and the BatchNorm buffers after, compiled without optimisation."""
    inputs = [jnp.asarray(x) for x in inputs]

    @jax.jit(compiler_options=QUICK)
    def forward(variables, *inputs):
        return model.apply(variables, *inputs, mutable=["batch_stats"], **kwargs)

    out, state = forward(jax.tree.map(jnp.asarray, variables), *inputs)
    return out, state.get("batch_stats", {})


def uniformer(options, **kwargs):
    kwargs = {"global_mlp_dropout": 0.0, "dtype": jnp.float64, **kwargs}
    return UniFormerV2(**options, patch_size=PATCH, **kwargs)


# The reference itself against the official classes: what makes it a truth.


GOLDEN_ENCODER = dict(
    width=64,
    layers=4,
    heads=2,
    temporal_downsample=True,
    local_mhra=2,
    reduction=1.5,
    global_layers=(2, 3),
    global_heads=2,
    global_mlp_factor=4.0,
    frozen=False,
    bn_group_size=None,
)


def golden_variables(data, model, clip, table, **kwargs):
    state = {k[6:]: data[k] for k in data.files if k.startswith("param/")}
    if table is CLIP_TEXT:
        state = {k[13:]: v for k, v in state.items() if k.startswith("text_encoder.")}
    else:
        state = {k: v for k, v in state.items() if not k.startswith("text_encoder.")}
    tree = to_flax(state, table, shapes_of(model, clip, **kwargs))
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def test_reference_is_the_official_uniformer(golden):
    data = np.load(golden / "uniformer_v2_a.npz")
    assert json.loads(str(data["config_json"]))["return_list"] == [2, 3]
    clip = data["input"].transpose(0, 2, 3, 4, 1)
    model = UniFormerV2Classifier(UniFormerV2(**GOLDEN_ENCODER, patch_size=16), 7)
    table = UNIFORMER_V2
    variables = golden_variables(data, model, jnp.asarray(clip), table, train=False)
    forward = reference.uniformer_v2_classifier
    clip = clip.astype(np.float64)
    close(forward(variables, clip, GOLDEN_ENCODER)[0], data["f64/logits"], 1e-13)
    logits, buffers = forward(variables, clip, GOLDEN_ENCODER, train=True)
    close(logits, data["train/logits"], 1e-13)
    state = {k[13:]: data[k] for k in data.files if k.startswith("train/buffer/")}
    stats = {"batch_stats": variables["batch_stats"]}
    table = [rule for rule in table if rule[1].startswith("batch_stats")]
    close_trees({"batch_stats": buffers}, to_flax(state, table, stats))


def test_reference_is_the_official_mer_clip(golden):
    data = np.load(golden / "merclip_tiny.npz")
    clip = data["in/clip_BNCTHW"][:, 0].transpose(0, 2, 3, 4, 1)
    encoder = UniFormerV2(**GOLDEN_ENCODER, patch_size=16)
    model = MerClip(encoder, classes=7, embed=32, learn_temperature=True)
    variables = golden_variables(data, model, jnp.asarray(clip), MER_CLIP, train=False)
    options = dict(encoder=GOLDEN_ENCODER, head_blocks=2, head_heads=4)
    video, logits, _ = reference.mer_clip(variables, clip.astype(np.float64), options)
    close(video, data["f64/eval/video_feature_after_projection"], 1e-13)
    close(logits, data["f64/eval/logits"], 1e-13)
    tower = ClipText(vocabulary=64, context=20, width=32, layers=2, heads=4, out=32)
    ids = data["in/prompt_ids"].astype(np.int32)
    variables = golden_variables(data, tower, jnp.asarray(ids), CLIP_TEXT)
    features = reference.clip_text(variables, ids, layers=2, heads=4)
    close(features, data["f64/eval/text_features_all_prompts"], 1e-13)


# The JAX modules against the reference.


GRIDS = [(1, 3), (2, 2), (2, 3), (3, 2)]
# Clips, and how many share BatchNorm statistics.
BATCHES = [(1, None), (2, None), (2, 1), (2, 2), (4, 1), (4, 2)]


def cases(draw_case):
    # Every option evenly: hypothesis's own draws crowd at the first of each list.
    return st.randoms(use_true_random=True).map(draw_case)


def encoder_case(random, layers=(1, 2, 3)):
    layers = random.choice(layers)
    batch, group = random.choice(BATCHES)
    chosen = random.sample(range(layers), random.choice([0, 1, 1, layers]))
    options = dict(
        width=random.choice([8, 16]),
        layers=layers,
        heads=random.choice([1, 2]),
        temporal_downsample=random.choice([True, False]),
        local_mhra=random.choice([0, 1, 2, 2]),
        reduction=random.choice([1.0, 1.5, 2.0]),
        global_layers=tuple(sorted(chosen)),
        global_heads=random.choice([1, 2, 4]),
        global_mlp_factor=random.choice([0.3, 0.5, 2.0, 4.0]),
        frozen=random.choice([True, False]),
        bn_group_size=group,
    )
    seed, train = random.randrange(99), random.choice([True, False])
    clip = dict(batch=batch, frames=random.randint(1, 7), grid=random.choice(GRIDS))
    return dict(options=options, clip=clip, seed=seed, train=train)


def pinned(batch, group, frames, grid, train, **options):
    base = dict(GOLDEN_ENCODER, width=8, heads=1, bn_group_size=group)
    options = base | options
    clip = dict(batch=batch, frames=frames, grid=grid)
    return dict(options=options, clip=clip, seed=0, train=train)


NOT_LAST = dict(layers=3, global_layers=(0, 1))
ALONE = dict(
    width=16,
    layers=4,
    global_layers=(2,),
    global_mlp_factor=0.3,
    temporal_downsample=False,
    local_mhra=1,
)


@pytest.mark.whole
@example(case=pinned(4, 1, 5, (1, 3), True, **NOT_LAST))
@example(case=pinned(4, 2, 4, (3, 2), True, **ALONE))
@example(case=pinned(1, None, 1, (2, 2), False, layers=1, global_layers=()))
@drawn(24)
@given(case=cases(encoder_case))
def test_uniformer_options(case):
    options, seed, train = case["options"], case["seed"], case["train"]
    clip = clip_of(**case["clip"], seed=seed)
    with float64():
        model = uniformer(options)
        variables = randomised(shapes_of(model, jnp.asarray(clip), train=False), seed)
        ours, stats = outputs(model, variables, clip, train=train)
    assert ours.pooled.dtype == ours.patches.dtype == jnp.float64
    pooled, patches, after = reference.uniformer_v2(variables, clip, options, train)
    close(ours.pooled, pooled)
    close(ours.patches, patches)
    close_trees(stats, after)


def test_without_global_layers_the_query_stays():
    options = dict(width=8, layers=1, heads=2, local_mhra=0, frozen=True)
    clip = clip_of(2, 3, (2, 2))
    with float64():
        model = uniformer(options)
        variables = randomised(shapes_of(model, jnp.asarray(clip), train=False), 0)
        pooled = outputs(model, variables, clip, train=False)[0].pooled
    params = variables["params"]
    query = reference.layer_norm(params["temporal_cls_token"], params["norm"])
    close(pooled, np.stack([query, query]))


def mer_clip_case(random):
    case = encoder_case(random, layers=(1, 2))
    return case | dict(
        embed=random.choice([8, 12]),
        blocks=random.randint(0, 3),
        heads=random.choice([1, 2, 4]),
        learnt=random.choice([True, False]),
    )


@drawn(8)
@given(case=cases(mer_clip_case))
def test_mer_clip_options(case):
    seed, train = case["seed"], case["train"]
    blocks, heads, learnt = case["blocks"], case["heads"], case["learnt"]
    clip = clip_of(**case["clip"], seed=seed)
    with float64():
        model = MerClip(
            uniformer(case["options"]),
            classes=3,
            embed=case["embed"],
            learn_temperature=learnt,
            learn_bias=learnt,
            head_blocks=blocks,
            head_heads=heads,
            head_dropout=0.0,
            dtype=jnp.float64,
        )
        variables = randomised(shapes_of(model, jnp.asarray(clip), train=False), seed)
        ours, stats = outputs(model, variables, clip, train=train)
    options = dict(encoder=case["options"], head_blocks=blocks, head_heads=heads)
    video, logits, after = reference.mer_clip(variables, clip, options, train)
    close(ours.video, video)
    close(ours.logits, logits)
    close_trees(stats.get("encoder", {}), after["encoder"])
    if learnt:
        close(ours.scale, np.exp(variables["params"]["logit_scale"]))
        close(ours.bias, variables["params"]["logit_bias"])
    else:
        close(ours.scale, 1 / 0.07, 1e-15)
        assert float(ours.bias) == 0


@pytest.mark.parametrize("blocks", range(4))
def test_mer_clip_on_the_factorised_encoder(blocks):
    encoder = dict(width=8, layers=1, heads=2, temporal_layers=1)
    options = dict(encoder=encoder, head_blocks=blocks, head_heads=4)
    clip = clip_of(2, 3, (2, 1))
    with float64():
        model = MerClip(
            FactorizedViT(**encoder, patch_size=PATCH, frames=3, dtype=jnp.float64),
            classes=3,
            embed=12,
            head_blocks=blocks,
            dtype=jnp.float64,
        )
        variables = randomised(shapes_of(model, jnp.asarray(clip), train=False), blocks)
        ours, _ = outputs(model, variables, clip, train=False)
    video, logits, _ = reference.mer_clip(variables, clip, options)
    close(ours.video, video)
    close(ours.logits, logits)


def factorised_case(random):
    options = dict(
        width=random.choice([8, 16]),
        heads=random.choice([1, 2, 4]),
        layers=random.choice([1, 2]),
        temporal_layers=random.choice([0, 1, 2]),
    )
    clip = dict(
        batch=random.randint(1, 3),
        frames=random.randint(1, 5),
        grid=random.choice(GRIDS),
    )
    seed, train = random.randrange(99), random.choice([True, False])
    return dict(options=options, clip=clip, seed=seed, train=train)


@drawn(7)
@given(case=cases(factorised_case))
def test_factorised_options(case):
    options, seed, train = case["options"], case["seed"], case["train"]
    clip, frames = clip_of(**case["clip"], seed=seed), case["clip"]["frames"]
    with float64():
        model = FactorizedViT(
            **options, patch_size=PATCH, frames=frames, dtype=jnp.float64
        )
        variables = randomised(shapes_of(model, jnp.asarray(clip), train=False), seed)
        ours, _ = outputs(model, variables, clip, train=train)
    pooled, patches = reference.factorized_vit(variables, clip, options)
    close(ours.pooled, pooled)
    close(ours.patches, patches)


def text_case(random):
    heads, layers = random.choice([1, 2, 4]), random.choice([1, 2])
    lengths = [random.randint(1, 7) for _ in range(random.randint(1, 3))]
    ids = np.zeros((len(lengths), max(lengths)), np.int32)
    padding = random.choice([0, 29])  # a second end of text must not matter either
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = [random.randint(1, 28) for _ in range(length)]
        row[length - 1] = 29
        row[length:] = padding
    options = dict(heads=heads, layers=layers)
    spare, seed = random.randint(0, 3), random.randrange(99)
    return dict(options=options, ids=ids, lengths=lengths, spare=spare, seed=seed)


@drawn(6)
@given(case=cases(text_case))
def test_text_lengths(case):
    options, ids = case["options"], case["ids"]
    with float64():
        tower = ClipText(
            vocabulary=30,
            context=ids.shape[1] + case["spare"],
            width=8,
            out=6,
            dtype=jnp.float64,
            **options,
        )
        variables = randomised(shapes_of(tower, jnp.asarray(ids)), case["seed"])
        ours, _ = outputs(tower, variables, ids)
    theirs = reference.clip_text(variables, ids, **options)
    close(ours, theirs)
    for row, length, feature in zip(ids, case["lengths"], theirs, strict=True):
        alone = reference.clip_text(variables, row[None, :length], **options)
        close(feature, alone[0])


def promotion(dtype):
    # JAX's attention cannot be bfloat16 under strict promotion.
    return jax.numpy_dtype_promotion("standard" if dtype == jnp.bfloat16 else "strict")


def float32(variables):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), variables)


@pytest.mark.parametrize("kind", ["self", "causal", "cross"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_attention_in_the_working_precisions(kind, dtype):
    # Float64 takes another path through `attend` than what training runs.
    rng = np.random.default_rng(0)
    x, context = rng.normal(size=(2, 3, 5, 8)), rng.normal(size=(2, 3, 7, 8))
    model = PackedAttention(heads=2, causal=kind == "causal", dtype=dtype)
    inputs = [x, context] if kind == "cross" else [x]
    arrays = [jnp.asarray(a, dtype) for a in inputs]
    with promotion(dtype):
        variables = randomised(shapes_of(model, *arrays), 1)
        ours = model.apply(float32(variables), *arrays)
    assert ours.dtype == dtype and ours.shape == x.shape
    ours = np.asarray(ours, np.float64)
    for at in np.ndindex(2, 3):
        source = context[at] if kind == "cross" else x[at]
        theirs = reference.clip_attention(
            x[at], source, variables["params"], 2, kind == "causal"
        )
        close(ours[at], theirs, 1e-5 if dtype == jnp.float32 else 5e-2)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("train", [True, False])
def test_mer_clip_in_the_working_precisions(dtype, train):
    clip = clip_of(2, 3, (2, 2))
    encoder = dict(DROPOUT_OPTIONS["encoder"], bn_group_size=1)
    model = MerClip(
        uniformer(encoder, dtype=dtype),
        classes=3,
        embed=8,
        head_blocks=1,
        head_dropout=0.0,
        dtype=dtype,
    )
    with promotion(dtype):
        shapes = shapes_of(model, jnp.asarray(clip, jnp.float32), train=False)
        variables = randomised(shapes, 0)
        ours, stats = outputs(
            model, float32(variables), clip.astype(np.float32), train=train
        )
    for leaf in jax.tree.leaves((ours, stats)):
        assert leaf.dtype == jnp.float32
    options = dict(DROPOUT_OPTIONS, encoder=encoder)
    video, logits, after = reference.mer_clip(variables, clip, options, train)
    rtol = 2e-5 if dtype == jnp.float32 else 0.1
    close(ours.video, video, rtol)
    close(ours.logits, logits, rtol)
    close_trees(stats["encoder"], after["encoder"], rtol)


# Drop path and dropout.


def test_drop_path_draws_once_a_clip():
    clips, rate = 4000, 0.3
    x = jnp.asarray(np.random.default_rng(0).uniform(1, 2, (clips, 2, 3)), jnp.float32)
    module = DropPath(rate, place=1)
    draws = jax.random.uniform(jax.random.key(0), (2, clips))
    out = module.apply({}, x, draws)
    gains = np.asarray(out / x)
    kept = gains[:, 0, 0] > 0
    expected = np.where(kept, 1 / (1 - rate), 0).reshape(-1, 1, 1)
    np.testing.assert_allclose(gains, np.broadcast_to(expected, x.shape), rtol=1e-6)
    deviation = np.sqrt(rate * (1 - rate) / clips)
    assert abs(kept.mean() - (1 - rate)) < 4 * deviation
    assert abs(gains.mean() - 1) < 4 * deviation / (1 - rate)
    other = DropPath(rate).apply({}, x, draws)
    assert (np.asarray(other) != np.asarray(out)).any()
    assert (np.asarray(module.apply({}, x, None)) == np.asarray(x)).all()


def test_rates_rise_linearly():
    for rate, blocks in ((0.2, 12), (0.4, 8), (0.0, 3), (0.3, 2), (0.5, 0)):
        np.testing.assert_allclose(
            linspace_rates(rate, blocks), np.linspace(0, rate, blocks), atol=1e-15
        )
    assert linspace_rates(0.4, 1) == [0.0]


def branches_of(model, clip, train):
    """Path, rate, branch before and after, for every DropPath of one forward pass."""
    paths = []

    @jax.jit(compiler_options=QUICK)
    def forward(variables, clip, key):
        seen = []

        def spy(call, args, kwargs, context):
            out = call(*args, **kwargs)
            if isinstance(context.module, DropPath):
                paths.append((context.module.path, context.module.rate))
                seen.append((args[0], out))
            return out

        with nn.intercept_methods(spy):
            model.apply(
                variables,
                clip,
                train=train,
                mutable=["batch_stats"],
                rngs={"dropout": key},
            )
        return seen

    clip = jnp.asarray(clip)
    variables = randomised(shapes_of(model, clip, train=False), 0)
    variables = jax.tree.map(jnp.asarray, variables)
    seen = forward(variables, clip, jax.random.key(3))
    return [(*path, *pair) for path, pair in zip(paths, seen, strict=True)]


@pytest.mark.parametrize("train", [True, False])
def test_drop_path_of_the_encoder(train):
    options = dict(width=8, layers=3, heads=1, global_layers=(0, 2))
    model = uniformer(
        options, drop_path=0.3, global_drop_path=0.6, global_mlp_dropout=0.5
    )
    with float64():
        branches = branches_of(model, clip_of(48, 2, (1, 2)), train)
    rates, masks = {}, []
    for path, rate, before, after in branches:
        block = path[0]
        rates.setdefault(block, []).append(rate)
        before, after = (np.asarray(a).reshape(len(a), -1) for a in (before, after))
        there = (before != 0).all(0)  # a mixer says nothing of the class tokens
        gains = after[:, there] / before[:, there]
        assert np.ptp(gains, axis=1).max() < 1e-12  # one draw for the whole clip
        survivors = np.unique(gains[:, 0].round(9))
        if rate and train:
            np.testing.assert_allclose(survivors, [0, 1 / (1 - rate)], atol=1e-8)
            masks.append(tuple(gains[:, 0] > 0))
        else:
            assert (survivors == 1).all()
    expected = {f"block_{i}": [0.15 * i] * 4 for i in range(3)}
    expected |= {f"global_{j}": [0.6 * j] * 2 for j in range(2)}
    assert rates.keys() == expected.keys()
    for block, found in rates.items():
        np.testing.assert_allclose(found, expected[block], atol=1e-12)
    assert len(masks) == (10 if train else 0)
    assert len(set(masks)) == len(masks)  # every branch draws for itself


def test_drop_path_of_the_factorised_encoder():
    model = FactorizedViT(8, 2, 1, PATCH, 2, 2, drop_path=0.3, dtype=jnp.float64)
    with float64():
        branches = branches_of(model, clip_of(2, 2, (1, 1)), True)
    rates = {path[0]: rate for path, rate, *_ in branches}
    assert list(rates) == ["block_0", "block_1", "temporal_0", "temporal_1"]
    np.testing.assert_allclose(list(rates.values()), [0, 0.1, 0.2, 0.3])


def test_certain_drop_path_leaves_the_residual_stream():
    # Rate 1 in the last blocks: the stream and the query must come out as they went in.
    options = dict(width=8, layers=2, heads=1, global_layers=(0, 1))
    clip = clip_of(2, 3, (2, 1))
    with float64():
        model = uniformer(options, drop_path=1.0, global_drop_path=1.0)
        variables = randomised(shapes_of(model, jnp.asarray(clip), train=False), 0)
        variables = jax.tree.map(jnp.asarray, variables)

        @jax.jit(compiler_options=QUICK)
        def forward(variables, clip):
            _, state = model.apply(
                variables,
                clip,
                train=True,
                mutable=["batch_stats", "intermediates"],
                rngs={"dropout": jax.random.key(0)},
            )
            return state["intermediates"]

        inner = forward(variables, jnp.asarray(clip))
        for name in ("block", "global"):
            before, after = (inner[f"after_{name}_{i}"][0] for i in range(2))
            assert (np.asarray(before) == np.asarray(after)).all()


def dropout_model(rates):
    global_mlp, head = rates
    options = dict(width=8, layers=2, heads=1, global_layers=(0, 1), local_mhra=1)
    encoder = uniformer(options, global_mlp_dropout=global_mlp)
    return MerClip(encoder, 3, 8, head_blocks=1, head_dropout=head, dtype=jnp.float64)


DROPOUT_OPTIONS = dict(
    encoder=dict(
        GOLDEN_ENCODER,
        width=8,
        layers=2,
        heads=1,
        local_mhra=1,
        global_layers=(0, 1),
        global_heads=1,
    ),
    head_blocks=1,
    head_heads=4,
)


@pytest.mark.parametrize("train", [True, False])
def test_dropout_places(train):
    # Certain dropout before a linear layer leaves its bias: as with a zero kernel.
    clip = clip_of(2, 2, (2, 2))
    with float64():
        model = dropout_model((1.0, 1.0))
        variables = randomised(shapes_of(model, jnp.asarray(clip), train=False), 0)
        rngs = {"dropout": jax.random.key(0)} if train else {}
        ours, _ = outputs(model, variables, clip, train=train, rngs=rngs)
    if train:
        for j in range(2):
            kernel = variables["params"]["encoder"][f"global_{j}"]["mlp"]["c_proj"]
            kernel["kernel"][:] = 0
        variables["params"]["head"]["classifier"]["kernel"][:] = 0
    video, logits, _ = reference.mer_clip(variables, clip, DROPOUT_OPTIONS, train)
    close(ours.video, video)
    close(ours.logits, logits)


def test_dropout_draws_only_in_training():
    clip = clip_of(2, 2, (2, 2))
    with float64():
        model = dropout_model((0.5, 0.1))
        variables = randomised(shapes_of(model, jnp.asarray(clip), train=False), 0)
        variables = jax.tree.map(jnp.asarray, variables)

        @jax.jit(compiler_options=QUICK)
        def forward(key):
            rngs = {"dropout": key}
            kwargs = dict(train=True, mutable=["batch_stats"], rngs=rngs)
            return model.apply(variables, jnp.asarray(clip), **kwargs)[0]

        one, same, other = (forward(jax.random.key(i)) for i in (0, 0, 1))
        for a, b, c in zip(one[:2], same[:2], other[:2], strict=True):
            assert (np.asarray(a) == np.asarray(b)).all()
            assert (np.asarray(a) != np.asarray(c)).any()


def test_default_rates_are_the_published_ones():
    model = factory.mer_clip(factory.MerClipOptions(), classes=7, frames=16)
    encoder = model.encoder
    assert (encoder.drop_path, encoder.global_drop_path) == (0.2, 0.4)
    assert (encoder.global_mlp_dropout, model.head_dropout) == (0.5, 0.1)
    assert encoder.global_layers == tuple(range(4, 12))
    assert (encoder.heads, encoder.global_heads, encoder.reduction) == (12, 12, 1.5)
    assert (encoder.local_mhra, encoder.temporal_downsample) == (2, True)
    assert (encoder.global_mlp_factor, encoder.frozen) == (4.0, False)
    assert (model.embed, model.head_blocks, model.head_heads) == (512, 2, 4)


# Bad input.


def small(**options):
    options = {"width": 8, "layers": 2, "heads": 1, "patch_size": PATCH, **options}
    return UniFormerV2(**options)


def factorised(**options):
    return FactorizedViT(
        8, 1, 1, PATCH, **{"frames": 3, "temporal_layers": 4} | options
    )


CLIP = (2, 3, 8, 8, 3)
WRONG_CLIPS = [
    ((2, 8, 8, 3), "float32"),  # one frame, no time
    ((3, 8, 8), "float32"),
    (CLIP, "int32"),
    (CLIP, "uint8"),
    ((2, 0, 8, 8, 3), "float32"),
    ((2, 3, 8, 8, 1), "float32"),
    ((2, 3, 3, 8, 8), "float32"),  # torch's order
]


@pytest.mark.parametrize("shape, dtype", WRONG_CLIPS)
@pytest.mark.parametrize("model", [small(), factorised()])
@pytest.mark.parametrize("whole", [False, True])
def test_wrong_clips(model, shape, dtype, whole):
    frames = "t >= 1" if isinstance(model, UniFormerV2) else "3"
    name = type(model).__name__
    if whole:
        model = MerClip(model, classes=3, embed=8)
    with pytest.raises(ValueError) as error:
        shapes_of(model, jnp.zeros(shape, dtype), train=False)
    assert str(error.value) == (
        f"{name} expects normalised frames, float [b, {frames}, h, w, 3]; "
        f"got {dtype} {list(shape)}"
    )


@pytest.mark.parametrize("frames", [2, 4])
def test_wrong_frame_count(frames):
    message = rf"FactorizedViT expects .*\[b, 3, h, w, 3\]; got float32 \[2, {frames},"
    with pytest.raises(ValueError, match=message):
        shapes_of(factorised(), jnp.zeros((2, frames, 8, 8, 3)), train=False)


@pytest.mark.parametrize("model", [small(), factorised()])
def test_wrong_frame_sizes(model):
    message = "frames of 8x10 pixels do not divide into 4x4 patches"
    with pytest.raises(ValueError, match=message):
        shapes_of(model, jnp.zeros((2, 3, 8, 10, 3)), train=False)
    variables = shapes_of(model, jnp.zeros(CLIP), train=False)
    message = "frames of 8x12 pixels make 7 tokens, .* position embedding is for 5"
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(
            lambda v: model.apply(v, jnp.zeros((2, 3, 8, 12, 3)), train=False),
            variables,
        )


@pytest.mark.parametrize(
    "options, message",
    [
        ({"global_layers": (1, 0)}, r"global_layers must rise within 0\.\.1, got \[1,"),
        ({"global_layers": (0, 0)}, r"global_layers must rise .*got \[0, 0\]"),
        ({"global_layers": (1, 2)}, r"global_layers must rise .*got \[1, 2\]"),
        ({"global_layers": (-1,)}, r"global_layers must rise .*got \[-1\]"),
        ({"local_mhra": 3}, "local_mhra must be 0, 1 or 2, got 3"),
        ({"local_mhra": -1}, "local_mhra must be 0, 1 or 2, got -1"),
        ({"reduction": 0.0}, "reduction must be above 0 .* width 8, got 0.0"),
        ({"reduction": 9.0}, "reduction must be above 0 .* width 8, got 9.0"),
        ({"heads": 3}, "attention: width 8 does not divide into 3 heads"),
        (
            {"global_layers": (1,), "global_heads": 3},
            "attention: width 8 does not divide into 3 heads",
        ),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        shapes_of(small(**options), jnp.zeros(CLIP), train=False)


def test_wrong_head_width():
    model = MerClip(small(), classes=3, embed=6)
    message = "attention: width 6 does not divide into 4 heads"
    with pytest.raises(ValueError, match=message):
        shapes_of(model, jnp.zeros(CLIP), train=False)


def test_batch_norm_groups_must_divide():
    message = "a batch of 3 clips does not divide into groups of 2"
    x = jnp.zeros((3, 2, 4))
    with pytest.raises(ValueError, match=message):
        BatchNorm(group_size=2).init(jax.random.key(0), x, train=True)
    BatchNorm(group_size=2).init(jax.random.key(0), x, train=False)
    clip = jnp.zeros((3, *CLIP[1:]))
    with pytest.raises(ValueError, match=message):
        shapes_of(small(bn_group_size=2), clip, train=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"video": "resnet"},
            r"video='resnet': expected one of \['uniformer_v2', 'fac",
        ),
        ({"structure": "ucf"}, r"structure='ucf': expected one of \['ssv2', 'kinetics"),
        ({"size": "b32"}, r"size='b32': expected one of \['tiny', 'b16', 'l14'"),
        ({"attention": "flash"}, r"attention='flash': expected one of \['auto', 'xla'"),
        ({"dtype": "float16"}, r"dtype='float16': expected one of \['auto', 'float32'"),
    ],
)
def test_wrong_names(options, message):
    with pytest.raises(ValueError, match=message):
        factory.MerClipOptions(**options)


def test_long_prompts():
    tower = ClipText(vocabulary=9, context=4, width=8, layers=1, heads=1, out=8)
    with pytest.raises(ValueError, match="prompts of 5 tokens exceed 4"):
        shapes_of(tower, jnp.zeros((1, 5), jnp.int32))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_attention_of_jax_is_the_exact_one_up_to_rounding(dtype, causal):
    """Values and gradients against float64's own sums, at UniFormerV2's shapes."""
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = ((2, 50, 64), (2, 50, 64), (2, 50, 64))
    given = [
        jax.random.normal(k, s).astype(dtype) for k, s in zip(keys, shapes, strict=True)
    ]

    def squares(q, k, v):
        y = attend(q, k, v, heads=4, causal=causal)
        wide = jnp.float64 if y.dtype == jnp.float64 else jnp.float32
        return jnp.square(y.astype(wide)).sum(), y

    # The gradient of a product of bfloat16 summed in float32 mixes the two, in jax.
    with jax.numpy_dtype_promotion("standard"):
        found = jax.jit(jax.value_and_grad(squares, (0, 1, 2), has_aux=True))(*given)
    with float64():
        wide = [jnp.asarray(np.asarray(x, np.float64)) for x in given]
        exact = jax.jit(jax.value_and_grad(squares, (0, 1, 2), has_aux=True))(*wide)
    scale = 2e-6 if dtype == jnp.float32 else 2e-2
    for ours, theirs in zip(
        jax.tree.leaves(found), jax.tree.leaves(exact), strict=True
    ):
        theirs = np.asarray(theirs)
        gap = np.abs(np.asarray(ours, np.float64) - theirs).max()
        assert gap <= scale * np.abs(theirs).max()
