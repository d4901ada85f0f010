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
from merclip_jax.text import wording
from merclip_jax.video.answer import Answerer
from merclip_jax.video.events import GATE, Event, Scored
from merclip_jax.video.look import SLOWEST, Result, Settings

NOT_FOUND = "no micro-expression found"
UNSURE = "unsure"
_LIKELY = 0.5  # probability from which an AU is told


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
        answer, possible = answered(event, answerer)
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
                sentence(event, answerer),
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
        "answer": verdict(result),
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
            "sets_hold_the_class_in": 0.9 if answerer.sets else None,
            "calibrated_aus": list(answerer.calibrated),
            "uncalibrated_aus": [
                au for au in answerer.aus if au not in answerer.calibrated
            ],
        },
        "notes": notes(result, answerer),
        "merclip_jax": merclip_jax.__version__,
    }
    return json.dumps(facts, indent=2, ensure_ascii=False).encode()


def verdict(result: Result) -> str:
    """What was found, in words; never a forced emotion."""
    if not any(row.face >= 0 for row in result.rows):
        return "no face found"
    if result.events:
        count = len(result.events)
        return f"{count} possible micro-expression{'s' * (count > 1)}"
    best = result.best
    if best is None:
        return f"{NOT_FOUND}: no window of a face is long enough"
    return f"{NOT_FOUND} (highest score {best.score:.2f} at {best.middle:.2f} s)"


def notes(result: Result, answerer: Answerer) -> list[str]:
    """What a reader must know of this answer."""
    about = answerer.model.about
    found = list(about.notes)
    if about.contract != "raw-window":
        found.append(
            "The model was trained on clips that were cut at annotated key frames, not "
            "on raw video: it has no answer for a face that shows nothing, and motion "
            "alone says when to ask it."
        )
    if about.dataset.startswith("synthetic"):
        found.append(
            "The model is a demonstration: it was trained on procedural faces alone. "
            "What it says of people is worth nothing."
        )
    if 0 < result.rate < SLOWEST:
        found.append(
            f"{result.rate:.1f} pictures a second: a micro-expression may fall between "
            "them; record 60 or more."
        )
    if answerer.aus and len(answerer.calibrated) < len(answerer.aus):
        own = [f"AU{au}" for au in answerer.aus if au not in answerer.calibrated]
        found.append(f"Not calibrated, to be compared with themselves: {_and(own)}.")
    if answerer.classes and answerer.sets is None:
        found.append(
            "How often the answers are right is not known of this model: no promise "
            "stands behind a probability."
        )
    found.append(
        "A score says how alike a face's motion is to what was annotated elsewhere. It "
        "is no proof of what a person feels, and tells nothing of lies."
    )
    return found


def answered(event: Event, answerer: Answerer) -> tuple[str, list[str]]:
    """The answer to an event, or that there is none, and what it may be.

    One emotion is answered where it is the only one in its set; without sets where it
    has more than half of the probability.

    Args:
        event: which.
        answerer: that said it.
    """
    p = event.classes.copy()
    if not p.size:
        return UNSURE, []
    if answerer.nothing is not None:
        p[answerer.nothing] = 0
    names = list(answerer.classes)
    if answerer.sets is not None:
        inside = answerer.sets.of(event.classes[None])[0]
    else:
        inside = p > 0.5 * p.sum()
    possible = [names[i] for i in np.argsort(-event.classes) if inside[i]]
    alone = len(possible) == 1 and possible[0] == names[int(p.argmax())]
    return (possible[0] if alone else UNSURE), possible


def told(event: Event, answerer: Answerer) -> list[tuple[float, int]]:
    """AUs by their probabilities, the largest first; calibrated ones where any is.

    Args:
        event: which.
        answerer: that said it.
    """
    known = answerer.calibrated or answerer.aus
    both = zip(event.aus.tolist(), answerer.aus, strict=True)
    return sorted(((p, au) for p, au in both if au in known), reverse=True)


def sentence(event: Event, answerer: Answerer) -> str:
    """An event in words: what moved, what it suggests, how sure.

    Args:
        event: which.
        answerer: that said it.
    """
    moved = [(p, au) for p, au in told(event, answerer) if p >= _LIKELY]
    words = [
        f"{wording.PHRASES.get(au, f'AU{au}').lower()} (AU{au}, {p:.2f})"
        for p, au in moved[:4]
    ]
    shown = _and(words) if words else "no action unit that could be named"
    answer, possible = answered(event, answerer)
    if answer != UNSURE:
        p = event.classes[answerer.classes.index(answer)]
        suggests = f"it suggests {answer} ({p:.2f})"
    elif len(possible) > 1:
        suggests = f"it may be {_and(possible, 'or')}: no answer is given"
    else:
        suggests = "no emotion can be told"
    return (
        f"From {event.onset:.2f} to {event.offset:.2f} s, strongest at "
        f"{event.apex:.2f} s (score {event.score:.2f}): {shown}; {suggests}."
    )


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


def _and(words: Sequence[str], last: str = "and") -> str:
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def _csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return printable(made.getvalue()).encode()
