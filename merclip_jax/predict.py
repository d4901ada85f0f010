"""What faces in a video show, and when: emotion, action units, or nothing.

    python -m merclip_jax.predict video.mp4 --checkpoint=runs/NAME --out=found
    python -m merclip_jax.predict videos/ --checkpoint=runs/NAME/model --out=found
    python -m merclip_jax.predict --demo

The checkpoint is the folder of a run with --config.protocol.final_fit=True, or the
model/ in it. Each video gets a folder: index.html (timeline, what was found),
frames.csv, events.csv, metadata.json, and with --render annotated.mp4. Where nothing is
sure enough the answer is "no micro-expression found". --demo makes a procedural video
and a small model first, which takes minutes once.
"""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from merclip_jax import atomic
from merclip_jax.errors import UserError
from merclip_jax.faces.align import DlibLandmarks, YunetLandmarks
from merclip_jax.faces.onset import FacesError
from merclip_jax.printable import printable
from merclip_jax.video import written
from merclip_jax.video.answer import BATCH, Answerer
from merclip_jax.video.decode import Video, VideoError
from merclip_jax.video.follow import Find
from merclip_jax.video.heats import heats
from merclip_jax.video.look import ALL, LARGEST, Result, Settings, look
from merclip_jax.video.page import render_page
from merclip_jax.weights import final

PAGE, FRAMES, EVENTS = "index.html", "frames.csv", "events.csv"
METADATA, VIDEO = "metadata.json", "annotated.mp4"
_KINDS = "3gp avi flv m4v mkv mov mp4 mpeg mpg mts ogv ts webm wmv".split()


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 all read, 1 some not, 130 interrupted."""
    before = signal.getsignal(signal.SIGINT)
    try:
        return _run(_parser().parse_args(argv))
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def _run(flags: argparse.Namespace) -> int:
    try:
        settings = _settings(flags)
        if flags.demo:
            from merclip_jax.video import demo

            flags.checkpoint, flags.videos = demo.ready()
        if not flags.videos or flags.checkpoint is None:
            raise UserError("expected VIDEO_OR_FOLDER and --checkpoint, or --demo")
        videos = _found(flags.videos)
        answerer = Answerer(final.load(flags.checkpoint), batch=flags.batch)
        find = finder(flags.yunet_model)
    except (UserError, FacesError, OSError) as error:
        print(printable(f"error: {error}"), file=sys.stderr)
        return 1
    failed, stop = 0, _stop_between_pictures()
    for path, out in zip(videos, _folders(videos, flags.out), strict=True):
        try:
            result = predict_video(
                path,
                answerer,
                out=out,
                settings=settings,
                find=find,
                start=flags.start,
                end=flags.end,
                render=flags.render,
                maps=not flags.no_maps,
                progress=True,
                tick=stop,
            )
        except (VideoError, UserError, OSError) as error:
            print(printable(f"error: {error}"), file=sys.stderr)
            failed += 1
            continue
        print(printable(f"{path}: {written.verdict(result)}"))
        for event in result.events:
            print(printable(f"  {written.sentence(event, answerer)}"))
        if result.stopped:
            print(printable(f"  not the whole video: {result.stopped}"))
        print(printable(f"  {out / PAGE}"))
        if result.stopped.startswith("interrupted"):
            return 130
    return 1 if failed else 0


def predict_video(
    path: Path,
    answerer: Answerer,
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
        answerer: a final model made ready: `Answerer(final.load(folder))`.
        out: a folder for page, tables and facts, whose older files give way.
        settings: how to look.
        find: looks for faces; None for dlib.
        start, end: seconds, of the part that is wanted.
        render: whether to write the annotated video too.
        maps: whether the page has heat maps.
        progress: whether to show how far it is, with the time left.
        tick: is told the time of each picture.

    Raises:
        VideoError: it cannot be read.
        FacesError: what looks for faces is not installed.
    """
    video, find = Video(path, start=start, end=end), find or finder()
    length = (end or video.facts.seconds) - start
    began = time.monotonic()
    with tqdm(
        total=round(max(length, 0), 2) or None,
        unit="s",
        desc=path.name[:40],
        disable=not progress,
        bar_format="{desc}: {percentage:3.0f}% of {total:.0f} s, {remaining} left",
        leave=False,
    ) as bar:

        def told(at: float) -> None:
            bar.update(max(0.0, round(at - start, 2) - bar.n))
            tick(at)

        result = look(video, answerer, find, settings, tick=told)
    if progress:
        spent = time.monotonic() - began
        count = len({row.index for row in result.rows})
        print(f"{count} pictures in {spent:.1f} s, {count / spent:.1f} a second")
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
        from merclip_jax.video.render import render as draw

        half = out / f".{VIDEO}.part.mp4"
        try:
            again = Video(path, start=start, end=end)
            draw(again, result, answerer, find, settings, half)
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


def _stop_between_pictures() -> Callable[[float], None]:
    """Notes Ctrl-C, and raises KeyboardInterrupt when it is called; the second at once.

    Where Python calls back from a decoder an exception would be lost.
    """
    asked: list[int] = []

    def note(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    def stop(time: float) -> None:
        if asked:
            raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, note)
    return stop


def _found(given: Sequence[Path]) -> list[Path]:
    """Files as they are, and of folders every video in them."""
    found = []
    for path in given:
        if path.is_dir():
            own = [p for p in sorted(path.rglob("*")) if p.suffix[1:].lower() in _KINDS]
            if not own:
                raise UserError(f"{path}: holds no file with a video's name")
            found += own
        else:
            found.append(path)
    return found


def _folders(videos: Sequence[Path], out: Path) -> list[Path]:
    """A folder for each video: `out` itself for one alone."""
    if len(videos) == 1:
        return [out]
    names = [path.stem for path in videos]
    return [
        out / (name if names.count(name) == 1 else f"{i + 1}-{name}")
        for i, name in enumerate(names)
    ]


def _settings(flags: argparse.Namespace) -> Settings:
    face = flags.face if flags.face in (LARGEST, ALL) else None
    if face is None:
        if not flags.face.isdecimal():
            raise UserError(f"--face={flags.face}: expected largest, all or a number")
        face = int(flags.face)
    for name, low, high in (
        ("window", 0.05, 10),
        ("stride", 0.01, 10),
        ("threshold", 0, 1),
        ("every", 0.02, 10),
    ):
        value = getattr(flags, name)
        if not (low <= value <= high or (name == "window" and value == 0)):
            raise UserError(f"--{name}={value:g}: expected {low:g} to {high:g}")
    if flags.start < 0 or (flags.end is not None and flags.end <= flags.start):
        raise UserError(
            f"--start={flags.start:g} --end={flags.end}: no part of a video"
        )
    if flags.batch < 1:
        raise UserError(f"--batch={flags.batch}: expected 1 or more")
    return Settings(
        seconds=flags.window,
        stride=flags.stride,
        threshold=flags.threshold,
        face=face,
        every=flags.every,
    )


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        "merclip_jax.predict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("videos", nargs="*", type=Path, metavar="VIDEO_OR_FOLDER")
    made.add_argument("--checkpoint", type=Path, help="folder of a run or final model")
    made.add_argument("--out", type=Path, default=Path("found"), help="default: found")
    made.add_argument(
        "--demo", action="store_true", help="a procedural video and model"
    )
    made.add_argument(
        "--face", default=LARGEST, help="largest (default), all, or a number"
    )
    made.add_argument("--start", type=float, default=0.0, help="seconds")
    made.add_argument("--end", type=float, help="seconds")
    default = Settings()
    made.add_argument(
        "--window",
        type=float,
        default=0.0,
        help="seconds; default: what the model was trained on, else 0.5",
    )
    made.add_argument(
        "--stride", type=float, default=default.stride, help="seconds (%(default)s)"
    )
    made.add_argument(
        "--threshold",
        type=float,
        default=default.threshold,
        help="score from which a window counts (%(default)s)",
    )
    made.add_argument(
        "--every",
        type=float,
        default=default.every,
        help="seconds between two looks for faces (%(default)s)",
    )
    made.add_argument("--batch", type=int, default=BATCH, help="windows at a time")
    made.add_argument("--render", action="store_true", help="annotated.mp4 too")
    made.add_argument("--no_maps", action="store_true", help="no heat maps")
    made.add_argument("--yunet_model", type=Path, help="ONNX file; default: dlib")
    return made


if __name__ == "__main__":
    sys.exit(main())
