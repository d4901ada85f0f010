"""What a face shows in a video, and when: a final model and a few lines.

    python examples/predict_a_video.py --video=me.mp4 --out=found

`python -m merclip_jax.predict` does so on the command line; these are its pieces. With
no --video a procedural one is drawn; with no trained --workdir a small model is.
"""

import argparse
from pathlib import Path

from configs import window_synthetic
from data_builders.build import build as build_dataset
from data_builders.synthetic import video as synthetic
from merclip_jax import experiment
from merclip_jax.video import words
from merclip_jax.video.answer import Answerer
from merclip_jax.video.predicting import predict_video
from merclip_jax.weights import final


def main(argv=None):
    """Train a small final model, or take it as it is; look at a video with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--workdir", type=Path, default=Path("runs/window"))
    parser.add_argument("--dataset", default="synthetic/windows")
    parser.add_argument("--epochs", type=int, default=22)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--out", type=Path, default=Path("found"))
    given = parser.parse_args(argv)

    # A model for use: scored on subjects it does not know, then trained on everyone.
    if not (given.workdir / "model").exists():
        config = window_synthetic.get_config()
        config.data.dataset, config.data.data_dir = given.dataset, str(given.data_dir)
        config.train.epochs = given.epochs
        config.protocol.name = "holdout"
        config.protocol.test_subjects = ("synthetic/s01",)
        config.protocol.final_fit = True
        build_dataset(given.dataset, data_dir=given.data_dir)
        experiment.run(config, given.workdir)

    video = given.video
    if video is None:
        video = given.workdir / "procedural.mp4"
        config = synthetic.recording()
        script = synthetic.draw(config, seed=1, seconds=8.0, expressions=2)
        synthetic.film(video, config, script, fps=30.0, seed=1)

    # The model is compiled once, and looks at as many videos as there are.
    answerer = Answerer(final.load(given.workdir))
    print(answerer.model.about.score)
    result = predict_video(video, answerer, out=given.out)
    print(words.verdict(result))
    for event in result.events:
        print(words.sentence(event, answerer))
    for score in sorted(w.score for own in result.windows.values() for w in own)[-3:]:
        print(f"among the highest scores of a window: {score:.2f}")
    print(given.out / "index.html")


if __name__ == "__main__":
    main()
