"""The page on a video: timeline, events with their faces, what the model is."""

from collections.abc import Mapping, Sequence

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from merclip_jax.printable import printable
from merclip_jax.results import figures
from merclip_jax.results.report import CONTRACTS, beside
from merclip_jax.video import words
from merclip_jax.video.answer import Answerer
from merclip_jax.video.events import Event, Scored
from merclip_jax.video.result import Result, Settings, Shown

_WIDE, _LEFT, _RIGHT = 1000, 92, 8  # of the drawing: all, names, edge
_POINTS = 900  # along it; of more the highest of each few is drawn
_MOST_AUS = 8
# Of a map: its name, and pictures uint8 [n, h, w, 3].
Heat = tuple[str, Sequence[np.ndarray]]


def render_page(
    result: Result,
    answerer: Answerer,
    settings: Settings,
    *,
    name: str,
    heats: Mapping[int, Heat],
) -> str:
    """The page.

    Args:
        result: of a video.
        answerer: that said it.
        settings: how it was looked at.
        name: of the video's file.
        heats: of some events, by their places in `result.shown`.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(beside("page.html.j2", of="merclip_jax.video"))
    about, times = answerer.model.about, [row.time for row in result.rows]
    page = template.render(
        name=name,
        verdict=words.verdict(result),
        stopped=result.stopped,
        notes=words.notes(result, answerer),
        seconds=max(times) - min(times),
        pictures=len({row.index for row in result.rows}),
        rate=result.rate,
        about=about,
        faces=len(result.windows),
        window=settings.seconds or answerer.seconds,
        timelines=[
            {"face": face, "svg": _timeline(result, answerer, settings, face)}
            for face in sorted(result.windows, key=lambda f: -len(result.windows[f]))
        ][:4],
        events=[
            {"number": i + 1, **_event(shown, answerer, heats.get(i))}
            for i, shown in enumerate(result.shown)
            if shown.times
        ],
        more=sum(not shown.times for shown in result.shown),
        contract=CONTRACTS.get(about.contract, "not told"),
        classes=answerer.classes,
        how=answerer.how,
        promise=words.promise(answerer),
    )
    return printable(page)


def _event(shown: Shown, answerer: Answerer, heat: Heat | None) -> dict:
    event = shown.event
    apex = min(shown.times, key=lambda t: abs(t - event.apex), default=None)
    strongest = words.told(event, answerer)
    return {
        "face": event.face,
        "onset": event.onset,
        "offset": event.offset,
        "score": event.score,
        "motion": event.motion,
        "sentence": words.sentence(event, answerer),
        "strip": [
            {"time": t, "src": figures.png(face, height=96), "apex": t == apex}
            for t, face in zip(shown.times, shown.faces, strict=True)
        ],
        "heat": heat
        and {
            "name": heat[0],
            "strip": [figures.png(picture, height=96) for picture in heat[1]],
        },
        "bars": [
            {
                "title": "Emotions",
                "rows": [
                    {"name": name, "p": float(p)}
                    for name, p in zip(answerer.classes, event.classes, strict=True)
                ],
            },
            {
                "title": "Action units, the most probable",
                "rows": [{"name": f"AU{au}", "p": float(p)} for p, au in strongest[:6]],
            },
        ],
    }


def _timeline(
    result: Result, answerer: Answerer, settings: Settings, face: int
) -> Markup:
    """Score, motion, emotions and AUs of a face over time, as SVG."""
    windows = result.windows[face]
    start, end = result.rows[0].time, max(result.rows[-1].time, 1e-3)
    span = max(end - start, 1e-3)

    def x(time: float) -> float:
        return _LEFT + (time - start) / span * (_WIDE - _LEFT - _RIGHT)

    parts, top = [], 14.0
    bottom_of_events = 168.0
    for i, event in enumerate(result.events):
        if event.face == face:
            parts.append(_mark(event, i, x, bottom_of_events))
    parts += _curve("expression", windows, lambda w: w.score, x, top, 90, 1.0)
    y = top + 90 * (1 - settings.threshold)
    parts.append(
        f'<line x1="{_LEFT}" x2="{_WIDE - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
        'stroke="var(--accent2)" stroke-dasharray="4 4"/>'
    )
    top += 104
    most = max(max((w.motion for w in windows), default=0.0), 0.5)
    parts += _curve("motion", windows, lambda w: w.motion, x, top, 50, most)
    top += 64
    rows = [
        (name, [w.classes[k] for w in windows])
        for k, name in enumerate(answerer.classes)
    ]
    best = np.array([w.aus for w in windows])
    if best.size and answerer.calibrated:  # the others' scales are their own
        best = best * np.isin(answerer.aus, answerer.calibrated)
    if best.size:
        order = np.argsort(-best.max(0), kind="stable")[:_MOST_AUS]
        rows += [
            (f"AU{answerer.aus[k]}", best[:, k].tolist())
            for k in sorted(order.tolist())
        ]
    for name, values in rows:
        parts += _lane(name, windows, values, x, top)
        top += 18
    parts += _ticks(start, span, x, top)
    height = top + 24
    title = f"Scores of face {face} over {span:.1f} seconds"
    return Markup(
        f'<svg viewBox="0 0 {_WIDE} {height:.0f}" role="img" aria-label="{title}">'
        f"{''.join(parts)}</svg>"
    )


def _mark(event: Event, i: int, x, height: float) -> str:
    left = x(event.onset)
    width = max(x(event.offset) - left, 1) + 2
    return (
        f'<a href="#event{i + 1}"><rect x="{left - 1:.1f}" y="4" '
        f'width="{width:.1f}" height="{height}" fill="var(--accent)" '
        f'opacity=".18"><title>{event.onset:.2f} - {event.offset:.2f} s</title></rect>'
        "</a>"
    )


def _thinned(windows: Sequence[Scored], values: Sequence[float]) -> list[tuple]:
    """Times and values, of many the highest of each few."""
    each = -(-len(windows) // _POINTS)
    found = []
    for i in range(0, len(windows), each):
        own = range(i, min(i + each, len(windows)))
        k = max(own, key=lambda j: values[j])
        found.append((windows[k].middle, values[k], windows[own[0]].middle))
    return found


def _curve(
    name: str, windows: Sequence[Scored], value, x, top: float, height: int, most: float
) -> list[str]:
    points = _thinned(windows, [value(w) for w in windows])
    path = " ".join(
        f"{'M' if i == 0 else 'L'}{x(t):.1f} {top + height * (1 - v / most):.1f}"
        for i, (t, v, _) in enumerate(points)
    )
    base = top + height
    return [
        f'<text x="{_LEFT - 8}" y="{top + height / 2 + 4:.0f}" text-anchor="end">'
        f"{escape(name)}</text>",
        f'<text x="{_LEFT - 8}" y="{top + 8:.0f}" text-anchor="end">{most:.1f}</text>',
        f'<line x1="{_LEFT}" x2="{_WIDE - _RIGHT}" y1="{base}" y2="{base}" '
        'stroke="var(--line)"/>',
        f'<path d="{path}" fill="none" stroke="var(--accent)" stroke-width="1.4"/>',
    ]


def _lane(
    name: str, windows: Sequence[Scored], values: Sequence[float], x, top: float
) -> list[str]:
    """A row of probabilities, dark for probable."""
    points = _thinned(windows, values)
    ends = [x(t) for _, _, t in points[1:]] + [x(windows[-1].end)]
    found = [
        f'<text x="{_LEFT - 8}" y="{top + 12:.0f}" text-anchor="end">'
        f"{escape(name)}</text>",
        f'<rect x="{_LEFT}" y="{top}" width="{_WIDE - _LEFT - _RIGHT}" height="14" '
        'fill="var(--panel)"/>',
    ]
    for (_, value, start), end in zip(points, ends, strict=True):
        if value >= 0.05:
            width = min(end - x(start), 0.5 * _WIDE) + 0.3
            found.append(
                f'<rect x="{x(start):.1f}" y="{top}" width="{max(width, 0.5):.1f}" '
                f'height="14" fill="var(--accent)" opacity="{value:.2f}"/>'
            )
    return found


def _ticks(start: float, span: float, x, top: float) -> list[str]:
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
    step = next((s for s in steps if span / s <= 12), 7200)
    found, k = [], int(np.ceil(start / step))
    while k * step <= start + span + 1e-9:
        at = float(k * step)
        word = f"{at:g} s" if span < 300 else f"{int(at // 60)}:{int(at % 60):02d}"
        found.append(
            f'<text x="{x(at):.1f}" y="{top + 16:.0f}" text-anchor="middle">'
            f"{word}</text>"
        )
        k += 1
    return found
