"""A final model as a file that runs without this package: StableHLO, perhaps ONNX.

    python -m merclip_jax.export runs/NAME --out=exported
    python -m merclip_jax.export runs/NAME --out=exported --onnx

Writes model.jax (jax.export: any number of clips at a time; CPU, NVIDIA GPU and TPU;
`jax.export.deserialize(bytes).call(inputs)`), and inputs.json, which says what it is
given and what it says. What is written is read again and compared with the model here.
--onnx writes model.onnx too, where jax2onnx is installed and can.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import merclip_jax
from merclip_jax import atomic
from merclip_jax.errors import UserError
from merclip_jax.models.portable import without_kernels
from merclip_jax.printable import printable
from merclip_jax.systems.system import Context, System, Variables
from merclip_jax.weights import final
from merclip_jax.weights.final import FinalModel

FILE, INPUTS, ONNX = "model.jax", "inputs.json", "model.onnx"
PLATFORMS = ("cpu", "cuda", "tpu")
TOLERANCE = 1e-4  # of outputs, relative to their largest; sums in another order
_CLIPS = 3  # that the file and the model are compared on

Predict = Callable[[Mapping[str, jax.Array]], dict[str, jax.Array]]


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 written and compared, 1 not."""
    flags = _parser().parse_args(argv)
    try:
        model = final.load(flags.checkpoint)
        for line in write(
            model, flags.out, platforms=tuple(flags.platform) or PLATFORMS
        ):
            print(printable(line))
        if flags.onnx:
            print(printable(write_onnx(model, flags.out)))
    except (UserError, OSError) as error:
        print(printable(f"error: {error}"), file=sys.stderr)
        return 1
    return 0


def write(
    model: FinalModel, out: Path, *, platforms: Sequence[str] = PLATFORMS
) -> list[str]:
    """Writes a model by jax.export, and compares the file with it.

    Args:
        model: whose seeds' outputs are averaged.
        out: the folder.
        platforms: that the file is to run on.

    Returns:
        What was written, in words.

    Raises:
        UserError: flatbuffers is missing, or the file says something else.
    """
    predict, given = exportable(model), example(model)
    (clips,) = jax.export.symbolic_shape("clips")
    shapes = {
        name: jax.ShapeDtypeStruct((clips, *value.shape[1:]), value.dtype)
        for name, value in given.items()
    }
    made = jax.export.export(jax.jit(predict), platforms=platforms)(shapes)
    try:
        data = bytes(made.serialize())
    except ImportError as error:
        raise UserError(
            "jax.export needs flatbuffers: pip install 'merclip_jax[export]'"
        ) from error
    again = jax.export.deserialize(bytearray(data))
    difference = 0.0
    if jax.default_backend() in platforms:
        difference = _compared(again.call(given), live(model)(given))
    out.mkdir(parents=True, exist_ok=True)
    atomic.write_atomically(out / FILE, data)
    told = describe(model, given, jax.eval_shape(predict, given))
    atomic.write_atomically(out / INPUTS, json.dumps(told, indent=2).encode())
    return [
        f"{out / FILE}: {len(data):,} bytes for {', '.join(platforms)}; differs by "
        f"{difference:.1e} from the model on {_CLIPS} clips",
        f"{out / INPUTS}: what it is given, and what it says",
    ]


def write_onnx(model: FinalModel, out: Path) -> str:
    """Writes a model by jax2onnx; compared by onnxruntime where it is installed.

    Args:
        model: whose seeds' outputs are averaged.
        out: the folder.

    Returns:
        What was written, in words.

    Raises:
        UserError: jax2onnx is missing, cannot, or the file says something else.
    """
    try:
        from jax2onnx import to_onnx
    except ImportError as error:
        raise UserError(
            "ONNX is written by jax2onnx, which wants an older Orbax than this "
            "package: install it without its requirements, pip install --no-deps "
            f"jax2onnx onnx onnx-ir ml_dtypes sympy mpmath ({error})"
        ) from error
    given = example(model)
    names = list(given)
    predict, said = exportable(model, each=False), []

    def plain(*values):
        found = predict(dict(zip(names, values, strict=True)))
        said[:] = list(found)
        return tuple(found.values())

    (clips,) = jax.export.symbolic_shape("clips")
    shapes = [
        jax.ShapeDtypeStruct((clips, *value.shape[1:]), value.dtype)
        for value in given.values()
    ]
    path = out / ONNX
    out.mkdir(parents=True, exist_ok=True)
    try:
        to_onnx(plain, shapes, return_mode="file", output_path=str(path))
    except Exception as error:  # its own, of many kinds
        raise UserError(
            f"jax2onnx cannot: {type(error).__name__}: {str(error)[:300]}"
        ) from error
    try:
        import onnxruntime
    except ImportError:
        return f"{path}: not compared, there is no onnxruntime here"
    # Any number of clips must do, not that of the example alone.
    given = {name: jnp.concatenate([value, value[:2]]) for name, value in given.items()}
    try:
        session = onnxruntime.InferenceSession(str(path))
        feed = {
            i.name: np.asarray(v)
            for i, v in zip(session.get_inputs(), given.values(), strict=True)
        }
        found = dict(zip(said, session.run(None, feed), strict=True))
    except Exception as error:  # its own, of many kinds
        path.unlink()
        raise UserError(
            f"onnxruntime cannot run what jax2onnx made: {str(error)[:300]}"
        ) from error
    difference = _compared(found, live(model)(given))
    count = len(given["frames"])
    return f"{path}: differs by {difference:.1e} from the model on {count} clips"


def live(model: FinalModel) -> Predict:
    """What the model says here, by the platform's own kernels."""
    return _mean([_member(own) for own in model.members])


def exportable(model: FinalModel, *, each: bool = True) -> Predict:
    """The same without kernels of one platform.

    Args:
        model: whose seeds' outputs are averaged.
        each: whether one clip is in the model at a time, so that there may be any
            number of them.
    """
    mean = _mean([_member(own) for own in model.members])

    def whole(given: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        with without_kernels():
            return mean(given)

    if not each:
        return whole

    def one(given: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        found = whole({name: value[None] for name, value in given.items()})
        return {name: value[0] for name, value in found.items()}

    return lambda given: jax.lax.map(one, dict(given))


def example(model: FinalModel) -> dict[str, jax.Array]:
    """Clips of noise, and faces in the middle, of the shapes that it is given."""
    system, rng = model.system, np.random.default_rng(0)
    frames = rng.integers(0, 256, (_CLIPS, *system.view.shape), dtype=np.uint8)
    given = {"frames": jnp.asarray(frames)}
    if "landmarks" in system.inputs:
        size = system.view.image_size
        points = rng.uniform(0.2 * size, 0.8 * size, (_CLIPS, 68, 2))
        given["landmarks"] = jnp.asarray(points, jnp.float32)
    return given


def describe(
    model: FinalModel, given: Mapping, said: Mapping[str, jax.ShapeDtypeStruct]
) -> dict[str, object]:
    """What the file is given and says, as plain JSON values.

    Args:
        model: what was exported.
        given: of `example`.
        said: shapes of the outputs.
    """
    view, about = model.system.view, model.about

    def shapes(of: Mapping) -> dict[str, object]:
        return {
            name: {"shape": ["clips", *value.shape[1:]], "dtype": str(value.dtype)}
            for name, value in of.items()
        }

    return {
        "title": about.title,
        "inputs": shapes(given),
        "outputs": shapes(said),
        "frames": {
            "range": "0 to 255, RGB" if not view.grey else "0 to 255, grey",
            "sampling": view.sampling,
            "window_seconds": view.seconds if view.sampling == "window" else None,
            "aligned": "eyes level, 2.5 times the extent of eyes, nose and mouth",
        },
        "classes": list(about.classes),
        "temperature": about.temperature,
        "merclip_jax": merclip_jax.__version__,
        "jax": jax.__version__,
    }


def _member(own: tuple[System, Variables, Context]) -> Predict:
    system, variables, context = own
    return lambda given: system.predict(variables, context, dict(given))


def _mean(members: Sequence[Predict]) -> Predict:
    def predict(given: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        found = [member(given) for member in members]
        return jax.tree.map(lambda *values: sum(values) / len(values), *found)

    return predict


def _compared(found: Mapping, expected: Mapping) -> float:
    """The largest difference, relative to each output's largest value."""
    worst = 0.0
    for name, value in expected.items():
        scale = max(float(jnp.abs(value).max()), 1e-30)
        worst = max(worst, float(jnp.abs(found[name] - value).max()) / scale)
    if not worst <= TOLERANCE:
        raise UserError(
            f"what was exported differs by {worst:.1e} from the model, more than "
            f"{TOLERANCE:g}: nothing was written"
        )
    return worst


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        "merclip_jax.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("checkpoint", type=Path, help="folder of a run or final model")
    made.add_argument("--out", type=Path, default=Path("exported"))
    made.add_argument(
        "--platform",
        action="append",
        choices=PLATFORMS,
        default=[],
        help="one or more; default: all three",
    )
    made.add_argument("--onnx", action="store_true", help="model.onnx too")
    return made


if __name__ == "__main__":
    sys.exit(main())
