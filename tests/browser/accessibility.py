"""What is wrong on a page for people who cannot see it, or not well, or who have no mouse."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

axe = Axe()

LEAST_CONTRAST = 4.5  # of small text, as WCAG 2.2 asks

# While an element fades in, its contrast is not yet its own.
FADED_IN = """() => Promise.allSettled(
  document.getAnimations()
    .filter(({ effect }) => effect.getComputedTiming().endTime < Infinity)
    .map(({ finished }) => finished)
)"""

# axe does not look at text in a drawing. Ticks and titles of the axes stand on the page's own ground.
CHART_CONTRASTS = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255);
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const luminance = (colour) => {
    const [red, green, blue] = channels(colour).map(linear);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const page = document.querySelector("[data-testid=stApp]") ?? document.body;
  const ground = luminance(getComputedStyle(page).backgroundColor);
  const contrast = (ink) => (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
  const texts = [...document.querySelectorAll(".js-plotly-plot :is([class$=tick], [class$=title]) text")];
  return texts.map((text) => [text.textContent, contrast(luminance(getComputedStyle(text).fill))]);
}"""


def findings(tab: Page) -> list[str]:
    """A line for each element that something is wrong with: what, where, and why."""
    tab.evaluate(FADED_IN)
    violations = axe.run(tab, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{rule['id']}: {node['target'][-1]} {node['html'][:150]} {node['failureSummary']}"
        for rule in violations
        for node in rule["nodes"]
    ] + [
        f"faint text on a chart: {text}, {contrast:.1f}:1"
        for text, contrast in tab.evaluate(CHART_CONTRASTS)
        if contrast < LEAST_CONTRAST
    ]
