"""FDP against plain torch modules of the released names, in float64 and full width."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.torch
import torch
from flax.traverse_util import flatten_dict, unflatten_dict

from merclip_jax.errors import UserError
from merclip_jax.losses.classification import focal
from merclip_jax.losses.reconstruction import image_error
from merclip_jax.models.fdp import SIZES, Fdp, FdpSize
from merclip_jax.weights import convert, load
from merclip_jax.weights.export import to_torch, write_torch
from merclip_jax.weights.families import fdp as family
from merclip_jax.weights.families.fdp import FDP
from merclip_jax.weights.match import place
from merclip_jax.weights.options import WholeOptions
from tests.weights_torch import torch_fdp

SMALL = FdpSize(
    (8, 4, 8), (16, 16, 24, 32), (2, 1, 2, 1), (32, 32, 64, 64), (4, 8, 16, 24), 16
)


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


def randomised(module, seed):
    """Weights and statistics far from their start, so that each one counts."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.dtype.is_floating_point:
                noise = torch.randn(value.shape, generator=generator, dtype=value.dtype)
                if name.endswith(("running_var", "norm.weight")):
                    value.copy_(1 + 0.1 * noise.abs())
                elif value.ndim > 1:
                    fan_in = value[0].numel()
                    value.copy_(noise * (1.5 / fan_in) ** 0.5)
                else:
                    value.add_(0.1 * noise)
    return module


def ours(module, size):
    state = {
        k: v.numpy() for k, v in module.state_dict().items() if "num_batches" not in k
    }
    placed = place(state, FDP)
    assert not placed.problems
    tree = unflatten_dict(dict(placed.arrays), sep="/")
    model = Fdp(5, size, drop_path=0.0, dtype=jnp.float64)
    return model, jax.tree.map(jnp.asarray, tree)


def frames(clips, side, seed=0):
    return np.random.default_rng(seed).standard_normal((clips, 8, side, side, 1))


def torch_frames(x):
    return torch.from_numpy(x.transpose(0, 1, 4, 2, 3).copy())


def close(mine, theirs, tolerance=1e-9):
    scale = np.abs(theirs).max()
    assert np.abs(np.asarray(mine) - theirs).max() <= tolerance * scale


def test_the_released_width():
    module = torch_fdp.FDP(SIZES["released"]).double().eval()
    count = sum(p.numel() for p in module.parameters())
    assert count == 85_304_206
    module = randomised(module, 0)
    model, variables = ours(module, SIZES["released"])
    x = frames(1, 64)
    with torch.no_grad():
        logits, image = module(torch_frames(x))
    out = model.apply(variables, jnp.asarray(x), train=False)
    close(out.logits, logits.numpy())
    close(out.image, image.numpy())


def test_a_training_step():
    """Losses, every gradient and all running statistics of a step, in float64."""
    module = randomised(torch_fdp.FDP(SMALL, side=32).double().train(), 1)
    model, variables = ours(module, SMALL)
    x = frames(3, 32, seed=1)
    labels = np.asarray([0, 3, 4])
    target = np.random.default_rng(2).random((3, 32, 32))

    logits, image = module(torch_frames(x))
    error = ((image - torch.from_numpy(target)) ** 2).mean()
    emotion = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
    (emotion + 100 * error).backward()

    def loss(params):
        out, changed = model.apply(
            variables | {"params": params},
            jnp.asarray(x),
            train=True,
            mutable=["batch_stats"],
        )
        value = focal(out.logits, jnp.asarray(labels), gamma=0.0)
        value = value + 100 * image_error(out.image, jnp.asarray(target))
        return value, changed

    (value, changed), grads = jax.value_and_grad(loss, has_aux=True)(
        variables["params"]
    )
    close(value, float((emotion + 100 * error).detach()))
    flat = {f"params/{k}": np.asarray(v) for k, v in _flat(grads).items()}
    mine = to_torch(flat, FDP)
    scale = max(p.grad.abs().max().item() for p in module.parameters())
    for name, parameter in module.named_parameters():
        # Biases before a BatchNorm have none: what is left there is rounding.
        off = np.abs(mine[name] - parameter.grad.numpy()).max()
        assert off <= 1e-9 * max(parameter.grad.abs().max().item(), 1e-4 * scale), name
    stats = {
        f"batch_stats/{k}": np.asarray(v)
        for k, v in _flat(changed["batch_stats"]).items()
    }
    moved = to_torch(stats, FDP)
    for name, buffer in module.named_buffers():
        if "running" in name:
            close(moved[name], buffer.numpy())


def _flat(tree):
    return flatten_dict(tree, sep="/")


def test_a_released_file_goes_there_and_back(tmp_path):
    """A `.pth` of the released layout, to a folder, to torch: strict, the same bits."""
    module = randomised(torch_fdp.FDP(SMALL, side=32), 3)
    torch.save(module.state_dict(), tmp_path / "fdp.pth")
    with jax.enable_x64(False):
        found = convert.convert([str(tmp_path / "fdp.pth")])
        assert not found.problems
        convert.write_folder(found, tmp_path / "ours")
        write_torch(str(tmp_path / "ours"), tmp_path / "back.safetensors")
    back = safetensors.torch.load_file(tmp_path / "back.safetensors")
    other = torch_fdp.FDP(SMALL, side=32)
    other.load_state_dict(back, strict=True)
    for name, value in module.state_dict().items():
        if "num_batches" not in name:
            assert torch.equal(other.state_dict()[name], value), name


def test_it_starts_a_training(tmp_path):
    """All that the file has; a last layer of other classes starts anew on request."""
    module = randomised(torch_fdp.FDP(SMALL, side=32), 4)
    torch.save(module.state_dict(), tmp_path / "fdp.pth")
    source = str(tmp_path / "fdp.pth")
    same = family.shapes_of(Fdp(5, SMALL), image_size=32)
    part = load.load_whole("fdp", same, WholeOptions(source))
    assert part.arrays.keys() == same.keys()
    three = family.shapes_of(Fdp(3, SMALL), image_size=32)
    with pytest.raises(UserError, match="new_head=True starts it anew"):
        load.load_whole("fdp", three, WholeOptions(source))
    part = load.load_whole("fdp", three, WholeOptions(source, new_head=True))
    assert three.keys() - part.arrays.keys() == {
        "params/classifier/kernel",
        "params/classifier/bias",
    }
