"""Reports and index in a real browser: Debian's Chromium, without a screen."""

import json
import re
import shutil
import subprocess

import pytest
from PIL import Image

from merclip_jax.results import card, index, report
from tests.results.test_report import _card, _predictions, demo_inputs

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--hide-scrollbars"
).split()
# Appended to a page: what a person would do, and what is there then.
PROBE = """<script>
addEventListener("load", () => {{
  const found = (() => {{ {code} }})();
  document.title = JSON.stringify(found);
}});
</script></body>"""
SORT = """
  const table = document.querySelector("table.sortable");
  const heads = [...table.tHead.rows[0].cells];
  const column = () => [...table.tBodies[0].rows].map((r) => r.cells[1].textContent);
  const before = column();
  heads[1].click();
  const down = column();
  heads[1].dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
  return { before, down, up: column(), sort: heads[1].getAttribute("aria-sort") };
"""
WIDTH = """
  const wide = [...document.querySelectorAll("body *")].filter(
    (e) => e.getBoundingClientRect().right > innerWidth + 1
      && !e.closest(".scroll, .tall, pre, svg")).map((e) => e.className || e.tagName);
  return { wide, scroll: document.documentElement.scrollWidth, inner: innerWidth };
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    run = folder / "run"
    run.mkdir()
    (run / "card.json").write_bytes(card.to_json(_card(_predictions())))
    made = {
        "report": report.render_report(**demo_inputs()),
        "index": index.render_index([run] * 2, out=folder / "x.html", title="Runs"),
    }
    return folder, made


def chromium(folder, *given):
    assert CHROMIUM, "no chromium here: apt-get install chromium"
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [CHROMIUM, *FLAGS, profile, *given]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True
    ).stdout


def asked(pages, name, code, width=1200):
    folder, made = pages
    path = folder / f"{name}{width}.html"
    text = made[name].replace("</body>", PROBE.format(code=code))
    path.write_text(text)
    size = f"--window-size={width},900"
    dom = chromium(
        folder, size, "--virtual-time-budget=5000", "--dump-dom", path.as_uri()
    )
    title = re.search(r"<title>(.*?)</title>", dom, re.S)[1]
    return json.loads(title.replace("&quot;", '"').replace("&amp;", "&"))


@pytest.mark.parametrize("name", ["report", "index"])
def test_a_click_on_a_head_sorts_its_column(pages, name):
    found = asked(pages, name, SORT)
    values = [float(x.split()[0]) if x[0].isdigit() else x for x in found["down"]]
    assert values == sorted(values, reverse=True)
    assert sorted(found["before"]) == sorted(found["down"])
    assert found["up"] == found["down"][::-1] or len(set(found["up"])) == 1
    assert found["sort"] == "ascending"


# A window of Chromium without a screen is no narrower than 500 pixels.
@pytest.mark.parametrize("width", [500, 820, 1200])
@pytest.mark.parametrize("name", ["report", "index"])
def test_nothing_sticks_out_of_the_page(pages, name, width):
    found = asked(pages, name, WIDTH, width)
    assert found["scroll"] <= found["inner"], found
    assert not found["wide"], found


def test_it_is_drawn_on_paper_light_and_dark(pages):
    folder, made = pages
    path = folder / "page.html"
    path.write_text(made["report"])
    shots = []
    for scheme in ((), ("--blink-settings=preferredColorScheme=0",)):
        shot = folder / f"shot{len(shots)}.png"
        chromium(folder, *scheme, f"--screenshot={shot}", path.as_uri())
        with Image.open(shot) as image:
            shots.append(image.convert("L").getpixel((5, 5)))
    assert shots[0] > 230 and shots[1] < 60, shots
    paper = folder / "page.pdf"
    chromium(folder, f"--print-to-pdf={paper}", path.as_uri())
    assert paper.read_bytes()[:5] == b"%PDF-" and paper.stat().st_size > 50_000
