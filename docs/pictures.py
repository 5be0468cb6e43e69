"""Makes the pictures of README.md from the running app, in docs/pictures: `make pictures`."""

from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.browser.conftest import CHROMIUM_FLAGS, running_server
from tests.browser.driver import Driver

FOLDER = Path(__file__).parent / "pictures"
CHROMIUM = "/usr/bin/chromium"
FRAME_MS, LAST_FRAME_MS = 220, 3000
COLOURS = 64

# Name: the link, and how far the page is scrolled, in pixels.
PAGES = {
    "attention": ("Attention?layer=5&head=3&sort=induction&prompt=The+cat+sat+on+the+mat.+The+cat+sat+on+the", 480),
    "rope": ("RoPE?layer=5&head=1&pair=8&prompt=I+want+to+move", 420),
    "experiments": ("Experiments?guess=show&prompt=The+capital+of+France+is", 420),
}


def moving_picture(app: Driver) -> None:
    """The living picture of the Overview, row by row."""
    app.open("?prompt=The+capital+of+France+is")
    picture = app.tab.locator(".living")
    picture.locator(".place").fill("0")
    frames = [_image(picture.screenshot())]
    while picture.locator(".on").get_attribute("aria-disabled") != "true":
        picture.locator(".on").click()
        frames.append(_image(picture.screenshot()))
    # One palette for all of them, of the frame that has every colour.
    palette = frames[-1].quantize(COLOURS)
    first, *others = (frame.quantize(COLOURS, palette=palette, dither=Image.Dither.NONE) for frame in frames)
    times = [FRAME_MS] * len(others) + [LAST_FRAME_MS]
    first.save(FOLDER / "overview.gif", save_all=True, append_images=others, duration=times, loop=0, optimize=True)


def _image(png: bytes) -> Image.Image:
    return Image.open(BytesIO(png)).convert("RGB")


def main() -> None:
    """Make all of them."""
    FOLDER.mkdir(exist_ok=True)
    with running_server() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        app = Driver(browser.new_page(viewport={"width": 1200, "height": 1000}), address)
        moving_picture(app)
        for name, (link, scrolled) in PAGES.items():
            app.open(link)
            app.tab.mouse.move(800, 500)
            app.tab.mouse.wheel(0, scrolled)
            app.tab.wait_for_timeout(2000)
            image = _image(app.tab.screenshot())
            image.quantize(128, dither=Image.Dither.NONE).save(FOLDER / f"{name}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    main()
