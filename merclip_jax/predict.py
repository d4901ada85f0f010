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
from collections.abc import Callable, Sequence
from pathlib import Path

from merclip_jax.errors import UserError
from merclip_jax.faces.onset import FacesError
from merclip_jax.printable import printable
from merclip_jax.video import demo, words
from merclip_jax.video.answer import BATCH, Answerer
from merclip_jax.video.predicting import PAGE, finder, predict_video
from merclip_jax.video.result import ALL, LARGEST, Settings
from merclip_jax.weights import final

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
        except (UserError, OSError) as error:
            print(printable(f"error: {error}"), file=sys.stderr)
            failed += 1
            continue
        print(printable(f"{path}: {words.verdict(result)}"))
        for event in result.events:
            print(printable(f"  {words.sentence(event, answerer)}"))
        if result.stopped:
            print(printable(f"  not the whole video: {result.stopped}"))
        print(printable(f"  {out / PAGE}"))
        if result.stopped.startswith("interrupted"):
            return 130
    return 1 if failed else 0


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
