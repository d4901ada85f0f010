"""What was found in a video as files: tables that other tools read, and facts.

Columns are named as users of OpenFace and py-feat expect them: frame, timestamp,
face_id, confidence, success, then one column for each AU and each emotion.
"""

import csv
import io
import json
from collections.abc import Sequence

import numpy as np

import merclip_jax
from merclip_jax.printable import printable, spreadsheet_cell
from merclip_jax.scoring import conformal
from merclip_jax.video import words
from merclip_jax.video.answer import Answerer
from merclip_jax.video.events import GATE, Scored
from merclip_jax.video.result import Result, Settings


def frames_csv(result: Result, answerer: Answerer) -> bytes:
    """A row for each face in each picture; nothing is known of one without a face.

    A picture has the numbers of the window whose middle is nearest, of those that hold
    it.

    Args:
        result: of a video.
        answerer: that said it.
    """
    columns = ["frame", "timestamp", "face_id", "confidence", "success"]
    columns += [_au(au) for au in answerer.aus]
    columns += ["expression", "motion", *map(spreadsheet_cell, answerer.classes)]
    nearest = {face: _Nearest(own) for face, own in result.windows.items()}
    rows = []
    for row in result.rows:
        there = row.face >= 0
        known = [row.index, f"{row.time:.4f}", row.face, f"{row.sure:.3f}", int(there)]
        own = nearest[row.face].at(row.time) if row.face in nearest else None
        if own is None:
            said = [""] * (len(answerer.aus) + 1)
            classes = [""] * len(answerer.classes)
        else:
            said = [f"{p:.4f}" for p in (*own.aus, own.score)]
            classes = [f"{p:.4f}" for p in own.classes]
        motion = f"{row.motion:.3f}" if there else ""
        rows.append([*known, *said, motion, *classes])
    return _csv(columns, rows)


def events_csv(result: Result, answerer: Answerer) -> bytes:
    """A row for each event.

    Args:
        result: of a video.
        answerer: that said it.
    """
    columns = ["face_id", "onset", "apex", "offset", "score", "motion", "answer"]
    columns += ["possible", *map(spreadsheet_cell, answerer.classes)]
    columns += [*(_au(au) for au in answerer.aus), "sentence"]
    rows = []
    for event in result.events:
        answer, possible = words.answered(event, answerer)
        rows.append(
            [
                event.face,
                *(f"{at:.3f}" for at in (event.onset, event.apex, event.offset)),
                f"{event.score:.4f}",
                f"{event.motion:.3f}",
                spreadsheet_cell(answer),
                spreadsheet_cell("; ".join(possible)),
                *(f"{p:.4f}" for p in event.classes),
                *(f"{p:.4f}" for p in event.aus),
                words.sentence(event, answerer),
            ]
        )
    return _csv(columns, rows)


def metadata(
    result: Result, answerer: Answerer, settings: Settings, *, name: str
) -> bytes:
    """Facts on the video, the model, and how far to believe what was found.

    Args:
        result: of a video.
        answerer: that said it.
        settings: how it was looked at.
        name: of the video's file.
    """
    about, best = answerer.model.about, result.best
    facts = {
        "video": name,
        "complete": not result.stopped,
        "stopped": result.stopped,
        "pictures": len({row.index for row in result.rows}),
        "pictures_with_a_face": len({r.index for r in result.rows if r.face >= 0}),
        "faces": len(result.windows),
        "pictures_per_second": round(result.rate, 3),
        "width": result.facts.width,
        "height": result.facts.height,
        "answer": words.verdict(result),
        "events": len(result.events),
        "highest_score": best.score if best else None,
        "highest_score_at": round(best.middle, 3) if best else None,
        "settings": {
            "window_seconds": settings.seconds or answerer.seconds,
            "stride_seconds": settings.stride,
            "threshold": settings.threshold,
            "least_motion": GATE,
            "face": settings.face,
        },
        "model": {
            "title": about.title,
            "trained_on": about.dataset,
            "clips": about.clips,
            "subjects": about.subjects,
            "contract": about.contract,
            "score": about.score,
            "card_sha256": about.card,
            "lineage": list(about.lineage),
            "classes": list(answerer.classes),
            "classes_come_from": answerer.how,
            "temperature": about.temperature,
            "sets_hold_the_class_in": conformal.LEVEL if answerer.sets else None,
            "calibrated_aus": list(answerer.calibrated),
            "uncalibrated_aus": [
                au for au in answerer.aus if au not in answerer.calibrated
            ],
        },
        "notes": words.notes(result, answerer),
        "merclip_jax": merclip_jax.__version__,
    }
    return json.dumps(facts, indent=2, ensure_ascii=False).encode()


class _Nearest:
    """The window of a face that a moment is nearest to the middle of."""

    def __init__(self, windows: Sequence[Scored]):
        self._windows = windows
        self._middles = np.array([w.middle for w in windows])

    def at(self, time: float) -> Scored | None:
        i = int(np.searchsorted(self._middles, time))
        near = [self._windows[k] for k in (i - 1, i) if 0 <= k < len(self._windows)]
        own = min(near, key=lambda w: abs(w.middle - time), default=None)
        return own if own and own.start - 1e-6 <= time <= own.end + 1e-6 else None


def _au(number: int) -> str:
    return f"AU{number:02d}"


def _csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return printable(made.getvalue()).encode()
