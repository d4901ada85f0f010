"""A page to try a model on a video: upload or webcam, timeline, faces.

    python -m merclip_jax.web --checkpoint=runs/NAME
    python -m merclip_jax.web --demo

The page is for this machine alone unless --host says otherwise. Videos are looked at
here, sent nowhere, and deleted when the answer is there; needs
pip install 'merclip_jax[web]'.
"""

import argparse
import filecmp
import html
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from merclip_jax.errors import UserError
from merclip_jax.faces.onset import FacesError
from merclip_jax.printable import printable
from merclip_jax.video import demo, words
from merclip_jax.video.answer import Answerer
from merclip_jax.video.decode import Video
from merclip_jax.video.follow import Find
from merclip_jax.video.predicting import PAGE, finder, predict_video
from merclip_jax.video.result import Settings
from merclip_jax.weights import final

TITLE = "What a face shows in a video"
LARGEST_MB, LONGEST = 200, 180.0  # of an upload, in seconds
_TOLD = (
    "Upload a video of a face that looks into the camera, or record one; 60 pictures a "
    "second or more are best. It is looked at on the machine that runs this page, by "
    "**{title}**, and deleted afterwards. Only with the consent of the person who is "
    "seen. A score is no proof of what somebody feels, and tells nothing of lies; in "
    "the European Union emotion recognition at work and in education is forbidden."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 served until it was stopped, 1 could not."""
    flags = _parser().parse_args(argv)
    examples: list[Path] = []
    # However it is stopped, what was uploaded goes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # What is uploaded lies here, and goes with the page.
    with tempfile.TemporaryDirectory(prefix="merclip-web-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        try:
            if flags.demo:
                flags.checkpoint, examples = demo.ready()
            if flags.checkpoint is None:
                raise UserError("expected --checkpoint, or --demo")
            answerer = Answerer(final.load(flags.checkpoint))
            made = page(
                answerer, finder(), examples=examples, longest=flags.max_seconds
            )
        except (UserError, FacesError, OSError) as error:
            print(printable(f"error: {error}"), file=sys.stderr)
            return 1
        made.queue(max_size=8, default_concurrency_limit=1)
        made.launch(
            server_name=flags.host,
            server_port=flags.port,
            share=False,
            max_file_size=f"{flags.max_mb}mb",
            allowed_paths=[str(path.parent) for path in examples],
            show_error=True,
            quiet=False,
        )
    return 0


def page(
    answerer: Answerer,
    find: Find,
    *,
    examples: Sequence[Path] = (),
    longest: float = LONGEST,
):
    """The page, a Gradio `Blocks`.

    Args:
        answerer: a final model made ready.
        find: looks for faces.
        examples: videos to try without an upload.
        longest: seconds of a video.

    Raises:
        UserError: Gradio is not installed.
    """
    gradio = _gradio()
    one = threading.Lock()  # a model's answers take all cores: one video at a time

    def looked_at(video: str | None, progress=gradio.Progress()):  # noqa: B008 - its way
        if not video:
            raise gradio.Error("No video: upload one, record one, or take the example.")
        with one:
            try:
                found = _answer(Path(video), answerer, find, longest, progress)
            except UserError as error:
                # The path is this machine's, and nobody's business.
                told = printable(str(error)).replace(str(Path(video).parent) + "/", "")
                raise gradio.Error(told) from None
            finally:
                # The example's copy is asked for again, and shows nobody.
                if not any(filecmp.cmp(video, own, shallow=False) for own in examples):
                    Path(video).unlink(missing_ok=True)
        return None, *found  # the video is gone, so it is not shown any more either

    with gradio.Blocks(
        title=TITLE, analytics_enabled=False, delete_cache=(60, 600)
    ) as made:
        gradio.Markdown(f"# {TITLE}")
        gradio.Markdown(_TOLD.format(title=answerer.model.about.title))
        with gradio.Row():
            video = gradio.Video(
                sources=["upload", "webcam"],
                label=f"Video of up to {longest:.0f} s",
                elem_id="video",
            )
            with gradio.Column():
                button = gradio.Button("Look", variant="primary", elem_id="look")
                verdict = gradio.Markdown(elem_id="verdict")
        if examples:
            gradio.Examples(
                [[str(path)] for path in examples], [video], label="Procedural example"
            )
        shown = gradio.HTML(elem_id="shown")
        button.click(
            looked_at,
            [video],
            [video, verdict, shown],
            concurrency_limit=1,
            api_name=False,
        )
    return made


def _answer(
    path: Path, answerer: Answerer, find: Find, longest: float, progress
) -> tuple[str, str]:
    """What was found in words, and the page on it in a frame of its own."""
    seconds = Video(path).facts.seconds
    if seconds > longest:
        raise UserError(f"{seconds:.0f} s long: expected up to {longest:.0f} s")
    with tempfile.TemporaryDirectory() as folder:
        result = predict_video(
            path,
            answerer,
            out=Path(folder),
            settings=Settings(),
            find=find,
            end=longest,  # whatever its header says
            tick=lambda at: progress(min(at / max(seconds, 1e-3), 1.0), desc="looking"),
        )
        inner = (Path(folder) / PAGE).read_text()
    frame = (
        f'<iframe title="result" srcdoc="{html.escape(inner)}" sandbox="allow-popups" '
        'style="width:100%;height:1600px;border:0"></iframe>'
    )
    return f"## {printable(words.verdict(result))}", frame


def _gradio():
    try:
        import gradio
    except ImportError:
        raise UserError(
            "the page is made by Gradio: pip install 'merclip_jax[web]'"
        ) from None
    return gradio


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        "merclip_jax.web",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--checkpoint", type=Path, help="folder of a run or final model")
    made.add_argument("--demo", action="store_true", help="procedural model and video")
    made.add_argument("--host", default="127.0.0.1", help="default: this machine alone")
    made.add_argument("--port", type=int, default=7860)
    made.add_argument(
        "--max_mb", type=int, default=LARGEST_MB, help="of an upload (%(default)s)"
    )
    made.add_argument(
        "--max_seconds", type=float, default=LONGEST, help="of a video (%(default)g)"
    )
    return made


if __name__ == "__main__":
    sys.exit(main())
