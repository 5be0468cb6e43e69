// In every page that is measured: when a person did something, and when the picture of what came of it was complete.
//
// Complete: the script of the page has run and ended since, every chart has its drawing, nothing stale is left, and then
// nothing has changed in the page for QUIET_MS. The moment that counts is that of the last change, not of the end of the
// quiet: when the frame with this change has been handed to the screen.

const QUIET_MS = 300;
const OUTSIDE = "[data-testid=stHeader], [data-testid=stStatusWidget]"; // Streamlit's own signs that it runs

const seen = { acted: 0, changed: 0, ran: false, shifts: [] };
const watched = new WeakSet();

for (const kind of ["keydown", "click"])
  addEventListener(kind, (event) => event.isTrusted && Object.assign(seen, { acted: event.timeStamp, ran: false }), true);

function changed(records) {
  const app = document.querySelector("[data-testid=stApp]");
  // Whatever it is now: it may have begun and ended since the last look.
  seen.ran ||= records.some(({ target, attributeName }) => target === app && attributeName === "data-test-script-state");
  if (!records.some(({ target }) => target !== app && !inside(target, OUTSIDE))) return;
  const end = new MessageChannel(); // its message arrives after the frame is painted
  end.port1.onmessage = () => (seen.changed = Math.max(seen.changed, performance.now()));
  requestAnimationFrame(() => end.port2.postMessage(0));
}

const watcher = new MutationObserver((records) => {
  changed(records);
  watchRoots();
});
const everything = { subtree: true, childList: true, attributes: true, characterData: true };
watcher.observe(document, everything);

// Our own components draw in shadow roots, into which an observer of the page does not look.
function watchRoots() {
  for (const component of document.querySelectorAll("[data-testid=stBidiComponentIsolated]"))
    for (const { shadowRoot } of [component, ...component.children])
      if (shadowRoot && !watched.has(shadowRoot)) {
        watched.add(shadowRoot);
        watcher.observe(shadowRoot, everything);
      }
}

new PerformanceObserver((list) => {
  for (const { value, startTime, hadRecentInput, sources } of list.getEntries())
    if (!hadRecentInput) seen.shifts.push({ value, at: startTime, movers: sources.map(({ node }) => named(node)) });
}).observe({ type: "layout-shift", buffered: true });

function named(node) {
  const element = node?.nodeType === Node.TEXT_NODE ? node.parentElement : node;
  return element?.closest?.("[data-testid]")?.dataset.testid ?? element?.tagName ?? "?";
}

function inside(node, selector) {
  return Boolean((node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement)?.closest(selector));
}

function state() {
  return document.querySelector("[data-testid=stApp]")?.dataset.testScriptState;
}

function complete() {
  const charts = [...document.querySelectorAll("[data-testid=stPlotlyChart]")];
  return (
    seen.ran &&
    state() === "notRunning" &&
    charts.every((chart) => chart.querySelector(".main-svg")) &&
    !document.querySelector("[data-testid=stMain] [data-stale=true], [data-testid=stMain] [data-testid=stSkeleton]") &&
    performance.now() - seen.changed > QUIET_MS
  );
}

// What a benchmark asks for.
window.watch = {
  complete,
  milliseconds: () => seen.changed - seen.acted,
  shifts: () => seen.shifts,
  firstPaint: () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime,
};
