"""Pictures for the report: curves as themed SVG, frames as PNG, all inside the page.

Colours in the SVG are CSS variables of the page, so that one drawing serves light, dark
and print; ids are prefixed because several drawings share one page.
"""

import base64
import io
import re
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

from merclip_jax.systems.system import Scalar

# Drawn as these hex values, replaced by the page's variables afterwards.
_THEME = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--line)",
    "#040404": "var(--accent)",
    "#050505": "var(--accent2)",
}
_INK, _MUTED, _LINE, _ACCENT, _ACCENT2 = _THEME
_COLOURS = (_INK, _ACCENT, _ACCENT2)
# Told apart by most eyes, on light and on dark (Okabe and Ito, 2008).
_MANY = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#999999")
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a clip's or a class's name is no formula
    "svg.hashsalt": "merclip_jax",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _MUTED,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "text.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.8,
}


def curve_panels(
    curves: Mapping[str, Mapping[str, np.ndarray]], scalars: Sequence[Scalar]
) -> list[dict]:
    """Draw scalars over epochs, those of one panel together.

    Args:
        curves: member -> scalar's name -> [epochs]; members may differ in length.
        scalars: what to draw, in the order of the panels.

    Returns dicts of title, alt and svg; members are thin lines, their mean a bold one.
    """
    panels: dict[str, list[str]] = {}
    for scalar in scalars:
        panels.setdefault(scalar.panel, []).append(scalar.name)
    # In the order of declaration, so that colours do not depend on the curves.
    parts = list(dict.fromkeys(_part(scalar.name) for scalar in scalars))
    drawn_panels = []
    for i, (title, names) in enumerate(panels.items()):
        drawn = {name: _stacked(curves, name) for name in names}
        # What belongs together has one colour: a loss and its weight, say.
        colours = {name: _COLOURS[parts.index(_part(name)) % 3] for name in names}
        svg = _embed(_panel(drawn, colours), f"p{i}-")
        drawn_panels.append({"title": title, "alt": _alt(title, drawn), "svg": svg})
    return drawn_panels


def _part(name: str) -> str:
    """What a scalar is of: "contrastive" of "loss/contrastive", "lr" of "lr"."""
    return name.rpartition("/")[2]


def _stacked(curves: Mapping, name: str) -> np.ndarray:
    """One curve of all members, [members, epochs], NaN behind a shorter member."""
    for member, own in curves.items():
        if name not in own:
            raise ValueError(f"curves of {member} lack {name}; they have {sorted(own)}")
    rows = [np.asarray(own[name], np.float64) for own in curves.values()]
    table = np.full((len(rows), max(row.size for row in rows)), np.nan)
    for row, values in zip(table, rows, strict=True):
        row[: values.size] = values
    return table


def _panel(drawn: Mapping[str, np.ndarray], colours: Mapping[str, str]) -> str:
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(440 / 72, 230 / 72), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for name, table in drawn.items():
            epochs = np.arange(1, table.shape[1] + 1)
            # A NaN ends each member, so that all of them are one path in the file.
            gap = np.full((len(table), 1), np.nan)
            thin = np.concatenate([table, gap], axis=1).ravel()
            across = np.tile(np.append(epochs, np.nan), len(table))
            axes.plot(across, thin, color=colours[name], linewidth=0.7, alpha=0.35)
            mean = np.nansum(table, 0) / np.isfinite(table).sum(0)
            # Among hundreds of members the mean of one series shows in ink only.
            bold = colours[name] if len(drawn) > 1 else _INK
            label = _part(name)
            axes.plot(
                epochs,
                mean,
                color=bold,
                linewidth=2.2,
                label=label,
                marker="o" if epochs.size == 1 else None,
            )
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
        if len(drawn) > 1:
            axes.legend(frameon=False)
        return _svg(figure)


def _svg(figure: Figure) -> str:
    """A figure as SVG, the same bytes whenever it is drawn."""
    text = io.StringIO()
    metadata = {"Date": None, "Creator": None}
    figure.savefig(text, format="svg", transparent=True, metadata=metadata)
    return text.getvalue()


def _alt(title: str, drawn: Mapping[str, np.ndarray]) -> str:
    parts = []
    for name, table in drawn.items():
        first, last = np.nanmean(table[:, 0]), np.nanmean(table[:, -1])
        what = f"{_part(name)} " if len(drawn) > 1 else ""
        parts.append(f"{what}from {first:.3g} to {last:.3g}")
    epochs = next(iter(drawn.values())).shape[1]
    return f"{title}, mean over members, over {epochs} epochs: {'; '.join(parts)}."


def _embed(svg: str, prefix: str) -> str:
    """Make a stand-alone SVG fit into a page: theme, unique ids, no prologue."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = svg.replace('="#', f'="#{prefix}').replace("url(#", f"url(#{prefix}")
    for drawn, variable in _THEME.items():
        svg = svg.replace(drawn, variable)
    return svg


def png(image: np.ndarray, *, height: int = 144) -> str:
    """Encode an image [h, w, 1 or 3] uint8 as a data URI; small ones are enlarged.

    Images under `height` are scaled to it (Lanczos, the aspect kept), those over twice
    `height` are scaled down to that.
    """
    if image.shape[-1] == 1:
        image = image[..., 0]
    picture = Image.fromarray(np.ascontiguousarray(image))
    target = min(max(picture.height, height), 2 * height)
    if target != picture.height:
        width = max(1, round(picture.width * target / picture.height))
        picture = picture.resize((width, target), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    picture.save(data, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()


def contact_sheet(frames: np.ndarray, *, columns: int = 4) -> bytes:
    """A PNG file with a row for each clip of frames [n, t, h, w, c] uint8.

    Small frames are enlarged by a whole number, so that no pixel is blurred.
    """
    n, t, h, w, c = frames.shape
    shown = frames[:, np.linspace(0, t - 1, min(columns, t)).round().astype(int)]
    sheet = shown.transpose(0, 2, 1, 3, 4).reshape(n * h, -1, c)
    times = max(1, -(-96 // h))
    sheet = sheet.repeat(times, 0).repeat(times, 1)
    picture = Image.fromarray(np.ascontiguousarray(sheet.squeeze()))
    data = io.BytesIO()
    picture.save(data, format="PNG", optimize=True)
    return data.getvalue()


def reliability(before: np.ndarray, after: np.ndarray) -> str:
    """Confidence against the share of right answers, as answered and mended; an SVG.

    Args:
        before, after: curves of `scoring.calibration`.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(340 / 72, 300 / 72), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for curve, colour, label in (
            (before, _ACCENT, "as answered"),
            (after, _ACCENT2, "with a temperature"),
        ):
            size = 10 + 90 * curve[:, 2] / curve[:, 2].max()
            axes.plot(
                curve[:, 0], curve[:, 1], color=colour, linewidth=1.6, label=label
            )
            axes.scatter(curve[:, 0], curve[:, 1], s=size, color=colour, linewidths=0)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
        axes.set_xlabel("probability of the answer")
        axes.set_ylabel("share that is right")
        axes.legend(frameon=False, loc="upper left", fontsize=10)
        return _embed(_svg(figure), "cal-")


def scatter(
    points: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    tested: np.ndarray,
    *,
    prefix: str,
) -> str:
    """Clips as points, a colour a class, those of the test with a ring; an SVG.

    Args:
        points: [n, 2].
        labels: [n] class.
        names: of the classes.
        tested: bool [n].
        prefix: of its ids, which no other drawing of the page has.
    """
    with matplotlib.rc_context(_STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(440 / 72, 380 / 72), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for k, name in enumerate(names):
            own = labels == k
            colour, marker = _MANY[k % len(_MANY)], "osD^vP*X"[k % 8]
            style = {"marker": marker, "s": 22, "color": colour}
            axes.scatter(*points[own & ~tested].T, alpha=0.45, linewidths=0, **style)
            axes.scatter(
                *points[own & tested].T,
                linewidths=1,
                edgecolors=_INK,
                label=name,
                **style,
            )
        axes.set(xticks=[], yticks=[])
        axes.legend(frameon=False, fontsize=9, ncols=2, loc="best")
        return _embed(_svg(figure), f"{prefix}-")


def forest(rows: Sequence) -> bytes:
    """Runs' UF1, and how each differs from the first, with 95 % intervals; a PNG.

    Args:
        rows: of `compare`: name, scores, intervals, differences.
    """
    style = {"font.family": "DejaVu Sans", "font.size": 10, "text.parse_math": False}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(9, 1.2 + 0.45 * len(rows)), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, sharey=True)
        heights = np.arange(len(rows))[::-1]
        for height, row in zip(heights, rows, strict=True):
            value = row.scores["uf1"]
            low, high = row.intervals.get("uf1", (value, value))
            left.plot([low, high], [height, height], color="#2b6777", linewidth=2)
            left.plot(value, height, "o", color="#2b6777")
            if gap := row.differences.get("uf1"):
                right.plot(
                    [gap.low, gap.high], [height, height], color="#b0562a", linewidth=2
                )
                right.plot(gap.value, height, "o", color="#b0562a")
        right.axvline(0, color="#888888", linewidth=1, linestyle="--")
        left.set_yticks(heights, [row.name for row in rows])
        left.set_ylim(-0.6, len(rows) - 0.4)
        left.set_xlabel("UF1, 95 % over subjects")
        right.set_xlabel("difference from the first run, paired")
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="x", color="#dddddd", linewidth=0.8)
            axes.set_axisbelow(True)
        buffer = io.BytesIO()
        # No date in it: the same runs give the same bytes.
        figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()


def overlaid(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A picture uint8 [h, w, c] under a heat map [h, w] of 0..1: uint8 [h, w, 3]."""
    wide = np.broadcast_to(picture, (*picture.shape[:2], 3)).astype(np.float64)
    colour = matplotlib.colormaps["inferno"](np.clip(heat, 0, 1))[..., :3] * 255
    share = 0.65 * np.clip(heat, 0, 1)[..., None]
    return np.rint(wide * (1 - share) + colour * share).astype(np.uint8)


def onset_difference(frames: np.ndarray, apex: int) -> tuple[np.ndarray, int]:
    """Amplified |apex - onset| of frames [t, h, w, 3]: heat image [h, w, 3] and gain.

    The gain is the whole number, 1 to 40, that brings the strongest 0.5 % of the
    pixels near the end of the scale.
    """
    change = np.abs(frames[apex].astype(np.float64) - frames[0]).mean(-1)
    strong = np.percentile(change, 99.5)
    gain = int(np.clip(round(255 / max(strong, 1.0)), 1, 40))
    heat = matplotlib.colormaps["inferno"](np.clip(change * gain / 255, 0, 1))
    return (heat[..., :3] * 255).round().astype(np.uint8), gain
