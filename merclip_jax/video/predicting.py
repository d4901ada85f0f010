"""A video from its file to the folder of what was found in it."""

import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from merclip_jax import atomic
from merclip_jax.faces.detectors import DlibLandmarks, YunetLandmarks
from merclip_jax.results.counted import counted
from merclip_jax.video import written
from merclip_jax.video.answer import Answerer
from merclip_jax.video.decode import Video
from merclip_jax.video.follow import Find
from merclip_jax.video.heats import heats
from merclip_jax.video.look import look
from merclip_jax.video.page import render_page
from merclip_jax.video.render import annotate
from merclip_jax.video.result import Result, Settings
from merclip_jax.weights import final

PAGE, FRAMES, EVENTS = "index.html", "frames.csv", "events.csv"
METADATA, VIDEO = "metadata.json", "annotated.mp4"
_BAR = "{desc}: {percentage:3.0f}% of {total:.0f} s, {remaining} left"


def predict_video(
    path: str | Path,
    model: str | Path | Answerer,
    *,
    out: Path | None = None,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    find: Find | None = None,
    start: float = 0.0,
    end: float | None = None,
    render: bool = False,
    maps: bool = True,
    progress: bool = False,
    tick: Callable[[float], None] = lambda time: None,
) -> Result:
    """What is found in a video; files of it where `out` says.

    Args:
        path: of the video.
        model: folder of a final model or of its run; for several videos one made ready,
            `Answerer(final.load(folder))`, which compiles once.
        out: a folder for page, tables and facts, whose older files give way.
        settings: how to look.
        find: looks for faces; None for dlib.
        start, end: seconds, of the part that is wanted.
        render: whether to write the annotated video too.
        maps: whether the page has heat maps.
        progress: whether to show how far it is, with the time left.
        tick: is told the time of each picture.

    Raises:
        UserError: there is no such model.
        VideoError: it cannot be read.
        FacesError: what looks for faces is not installed.
    """
    path = Path(path)
    answerer = model
    if not isinstance(model, Answerer):
        answerer = Answerer(final.load(Path(model)))
    video, find = Video(path, start=start, end=end), find or finder()
    length = max(0.0, round((end or video.facts.seconds) - start, 2))
    began = time.monotonic()
    with tqdm(
        total=length or None,
        unit="s",
        desc=path.name[:40],
        disable=not progress,
        bar_format=_BAR if length else "{desc}: {n:.0f} s, of a length that is unknown",
        leave=False,
    ) as bar:

        def told(at: float) -> None:
            bar.update(max(0.0, round(at - start, 2) - bar.n))
            tick(at)

        result = look(video, answerer, find, settings, tick=told)
    if progress:
        spent = time.monotonic() - began
        count = len({row.index for row in result.rows})
        read = counted(count, "picture")
        print(f"{read} in {spent:.1f} s, {count / spent:.1f} a second")
    if out is None:
        return result
    drawn = heats(result.shown, answerer) if maps else {}
    page = render_page(result, answerer, settings, name=path.name, heats=drawn)
    out.mkdir(parents=True, exist_ok=True)
    for name, content in (
        (FRAMES, written.frames_csv(result, answerer)),
        (EVENTS, written.events_csv(result, answerer)),
        (METADATA, written.metadata(result, answerer, settings, name=path.name)),
        (PAGE, page.encode()),
    ):
        atomic.write_atomically(out / name, content)
    if render:
        half = out / f".{VIDEO}.part.mp4"
        try:
            again = Video(path, start=start, end=end)
            annotate(again, result, answerer, find, settings, half)
            half.replace(out / VIDEO)
        finally:
            half.unlink(missing_ok=True)
    return result


def finder(yunet_model: Path | None = None) -> Find:
    """What looks for faces: dlib, or YuNet with a model file.

    Raises:
        FacesError: it is not installed, or the file is no such model.
    """
    return (YunetLandmarks(yunet_model) if yunet_model else DlibLandmarks()).find_all
