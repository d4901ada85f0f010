"""The page to try a model, driven by a real browser: upload, wait, read the result."""

import subprocess
import sys
import time
import urllib.request

import pytest

from tests.browser.test_pages import CHROMIUM, FLAGS
from tests.video import made
from tests.video.test_predict import folder as folder  # a final model's folder

PORT = 17860


@pytest.fixture(scope="module")
def served(folder, tmp_path_factory):
    """The address of the page, and the folder that its temporary files go to."""
    temporary = tmp_path_factory.mktemp("temporary")
    process = subprocess.Popen(
        [sys.executable, "-m", "merclip_jax.web", f"--checkpoint={folder}"]
        + [f"--port={PORT}", "--max_seconds=20", "--max_mb=5"],
        env={**__import__("os").environ, "TMPDIR": str(temporary)},
    )
    address = f"http://127.0.0.1:{PORT}/"
    for _ in range(120):
        try:
            urllib.request.urlopen(address).read()
            break
        except OSError:
            assert process.poll() is None, "the page ended"
            time.sleep(0.5)
    yield address, temporary
    process.terminate()
    process.wait(20)
    assert not list(temporary.glob("merclip-web-*"))


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, "no chromium here: apt-get install chromium"
    with sync_playwright() as playwright:
        # A camera that shows a test picture, and nobody who must allow it.
        camera = ["fake-ui-for-media-stream", "fake-device-for-media-stream"]
        made = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*FLAGS, *(f"--use-{c}" for c in camera)]
        )
        yield made
        made.close()


def upload(page, path):
    page.set_input_files("#video input[type=file]", str(path))
    page.wait_for_selector("#video video", timeout=30_000)
    page.click("#look")


def test_a_video_is_looked_at_and_nothing_of_it_stays(served, browser, tmp_path):
    address, temporary = served
    film = made.film(tmp_path / "a.mp4", made.script(3))
    page = browser.new_page(viewport={"width": 1200, "height": 1400})
    page.goto(address)
    page.wait_for_selector("#look")
    assert "lies" in page.inner_text("body") and "consent" in page.inner_text("body")
    upload(page, film)
    page.wait_for_function(
        "document.querySelector('#verdict').innerText.includes('expression')",
        timeout=120_000,
    )
    page.wait_for_selector("#shown iframe")
    page.screenshot(path=str(tmp_path / "page.png"))
    frame = page.frame_locator("#shown iframe")
    assert frame.locator("svg").first.is_visible()
    assert "Timeline" in frame.locator("body").inner_text()
    uploads = [p for p in temporary.rglob("*.mp4")]
    assert not uploads, uploads
    page.close()


def test_a_webcam_is_recorded_and_looked_at(served, browser):
    address, temporary = served
    page = browser.new_page(permissions=["camera", "microphone"])
    page.goto(address)
    page.wait_for_selector("#look")
    page.click("#video button[aria-label='Capture from camera']")
    page.click("text=Click to Access Webcam")
    page.click("#video button:has-text('Record')")
    page.wait_for_selector("#video button:has-text('Stop')")
    time.sleep(2)
    page.click("#video button:has-text('Stop')")
    page.wait_for_selector("#video video[src]", timeout=30_000)
    page.click("#look")
    page.wait_for_selector("#verdict:has-text('no face found')", timeout=60_000)
    assert not list(temporary.rglob("*.webm"))
    page.close()


def test_what_is_no_video_or_too_long_is_told(served, browser, tmp_path):
    address, _ = served
    long = made.film(tmp_path / "long.mp4", made.script(3, seconds=25.0), fps=8.0)
    page = browser.new_page()
    page.goto(address)
    page.wait_for_selector("#look")
    upload(page, long)
    page.wait_for_selector("text=expected up to 20 s", timeout=60_000)
    page.close()


def test_it_is_served_to_this_machine_alone(served):
    import socket

    own = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)}
    for address in own - {"127.0.0.1", "::1"}:
        with pytest.raises(OSError):
            socket.create_connection((address, PORT), timeout=2)
