"""Every system looks at a video: its own input, its own answers, a page."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from merclip_jax import build
from merclip_jax.faces.detectors import DlibLandmarks
from merclip_jax.systems.system import Context
from merclip_jax.video import words
from merclip_jax.video.answer import Answerer
from merclip_jax.video.predicting import predict_video
from merclip_jax.video.result import Settings
from merclip_jax.weights.final import About, FinalModel
from tests.systems import three
from tests.video import made


@pytest.mark.whole
@pytest.mark.parametrize("name", three.NAMES)
def test_it_looks_at_a_video(name, mini_data, tmp_path):
    config = three.config(name, mini_data)
    job = build.job(config, build.clips(config))
    system, clips = job.system, job.clips
    columns = system.columns(clips)
    context = Context(
        run=system.run_context(clips), fold=system.fold_context(clips, columns)
    )
    rows = {c: jnp.asarray(columns[c][:1]) for c in system.inputs}
    frames = jnp.zeros((1, *system.view.shape), jnp.uint8)
    variables = system.init(jax.random.key(0), {"frames": frames, **rows})
    emotions = system.task.target == "label"
    about = About(
        title=system.title,
        classes=tuple(system.task.names) if emotions else (),
        vocabulary=system.vocabulary(clips),
        contract=system.view.contract,
    )
    model = FinalModel(tmp_path, about, ((system, variables, context),))
    answerer = Answerer(model, batch=4)
    assert bool(answerer.aus) == (not name.startswith("fdp"))
    assert answerer.classes  # a detector's by rules on its AUs
    film = made.film(tmp_path / "a.mp4", made.script(3))
    result = predict_video(
        film,
        answerer,
        out=tmp_path / "found",
        settings=Settings(threshold=0.2, stride=0.25),
        find=DlibLandmarks().find_all,
        start=3.0,
        end=5.0,
    )
    windows = result.windows[0]
    assert len(windows) >= 5
    p = np.array([w.classes for w in windows])
    assert np.isfinite(p).all() and np.allclose(p.sum(1), 1, atol=1e-3)
    assert all(len(w.aus) == len(answerer.aus) for w in windows)
    page = (tmp_path / "found" / "index.html").read_text()
    assert system.title in page and "annotators said" in " ".join(
        words.notes(result, answerer)
    )
