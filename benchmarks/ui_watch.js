// In every page that is measured: when a person did something, and when the picture of what came of it was complete.
//
// Complete: the server has answered since and its script has ended, every chart has its drawing, nothing stale is left,
// and then nothing has come or changed in the page for QUIET_MS. The moment that counts is that of the last change, not of
// the end of the quiet: when the frame with this change has been handed to the screen.

const QUIET_MS = 300;
// Streamlit's own signs that it runs; and what a table's canvas holds for screen readers, some time after its picture.
const OUTSIDE = "[data-testid=stHeader], [data-testid=stStatusWidget], canvas";

// Moments in ms. heard: of the server's last message; begun: when there was something to read, which shifts then move
const seen = { acted: 0, heard: 0, changed: 0, begun: Infinity, shifts: [] };
const watched = new WeakSet();

for (const kind of ["keydown", "click"])
  addEventListener(kind, (event) => event.isTrusted && (seen.acted = event.timeStamp), true);

// The page itself need not show that a short script has run.
const Socket = WebSocket;
window.WebSocket = class extends Socket {
  constructor(...options) {
    super(...options);
    this.addEventListener("message", () => (seen.heard = performance.now()));
  }
};

function changed(records) {
  const app = document.querySelector("[data-testid=stApp]"); // it says whether the script runs
  if (!records.some(({ target }) => target !== app && !inside(target, OUTSIDE))) return;
  const end = new MessageChannel(); // its message arrives after the frame is painted
  end.port1.onmessage = () => {
    seen.changed = Math.max(seen.changed, performance.now());
    if (document.querySelector("h1")) seen.begun = Math.min(seen.begun, performance.now());
  };
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
    seen.heard > seen.acted &&
    state() === "notRunning" &&
    charts.every((chart) => chart.querySelector(".main-svg")) &&
    !document.querySelector("[data-testid=stMain] [data-stale=true], [data-testid=stMain] [data-testid=stSkeleton]") &&
    performance.now() - Math.max(seen.heard, seen.changed) > QUIET_MS
  );
}

// What a benchmark asks for.
window.watch = {
  complete,
  milliseconds: () => seen.changed - seen.acted,
  shifts: () => seen.shifts.filter(({ at }) => at > seen.begun),
  firstPaint: () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime,
};
