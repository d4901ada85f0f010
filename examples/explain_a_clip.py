"""Ask a model where it saw an AU: a map on the frames of a clip, by a few lines.

    python examples/explain_a_clip.py --picture=map.png

`python -m merclip_jax.explain RUN` does so for a run's report; these are its pieces.
"""

import argparse
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from PIL import Image

from configs import synthetic_3class
from data_builders.build import build as build_dataset
from merclip_jax import experiment
from merclip_jax.explaining import heat
from merclip_jax.explaining.finished import open_run
from merclip_jax.results.card import find_row
from merclip_jax.results.figures import overlaid


def main(argv=None):
    """Train a small model, or take it as it is; draw where it saw a clip's first AU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--workdir", type=Path, default=Path("runs/explained"))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--picture", type=Path, default=Path("map.png"))
    given = parser.parse_args(argv)

    # A run that keeps its weights; finished, it is not trained again.
    config = synthetic_3class.get_config()
    config.data.dataset, config.data.data_dir = "synthetic/mini", str(given.data_dir)
    config.train.epochs, config.train.batch_size = given.epochs, 8
    config.train.keep_weights = True
    build_dataset(config.data.dataset, data_dir=given.data_dir)
    card = experiment.run(config, given.workdir)
    print(f"UF1 {find_row(card, 'uf1')['mean']:.3f}")

    # The model that never trained on the clip's subject.
    run = open_run(given.workdir)
    member, clips = run.members[0], run.plan.store.clips
    index = int(member.fold.test[0])
    system, variables, context = run.weights(member)
    frames = clips.decode(index)
    batch = {"frames": jnp.asarray(frames[None])}

    # What it says of each AU: the likeness to sentences that name it, and that do not.
    evidence = system.evidence(system.vocabulary(clips), context)
    said = np.asarray(evidence.of(system.predict(variables, context, batch)))[0]
    print(f"{clips.clip[index]}, annotated {clips.au_cell[index]}: {evidence.note}")
    for au, value in sorted(zip(evidence.aus, said, strict=True), key=lambda x: -x[1]):
        print(f"  AU{au:<3} {value:+.3f}")

    # Where that comes from: frames above, the same frames under the map below.
    au = evidence.aus[int(said.argmax())]
    maps = heat.au_maps(system, variables, context, batch, evidence, au)
    maps = heat.on_frames(maps, len(frames), frames.shape[1])[0]
    maps = maps / max(float(maps.max()), 1e-30)
    rows = [
        np.concatenate(list(frames), axis=1),
        np.concatenate([overlaid(f, m) for f, m in zip(frames, maps, strict=True)], 1),
    ]
    Image.fromarray(np.concatenate(rows)).save(given.picture)
    print(f"where it saw AU{au}: {given.picture}")


if __name__ == "__main__":
    main()
