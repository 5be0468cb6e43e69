"""What axe-core finds wrong on a page, for people who cannot see it, or not well, or who have no mouse."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

GRAVE = ("serious", "critical")

# Of each rule the elements that are not ours, and that cannot be mended from outside.
EXCEPTIONS: dict[str, tuple[str, ...]] = {}

axe = Axe()


def grave_findings(tab: Page) -> list[str]:
    """A line for each element with a serious or critical finding: the rule, where it is and what is wrong."""
    rules = {rule: {"selector": f":not({', '.join(others)})"} for rule, others in EXCEPTIONS.items()}
    found = axe.run(tab, options={"resultTypes": ["violations"], "rules": rules}).response["violations"]
    return [
        f"{rule['id']}: {node['target'][-1]} {node['html'][:150]} {node['failureSummary']}"
        for rule in found
        if rule["impact"] in GRAVE
        for node in rule["nodes"]
    ]
