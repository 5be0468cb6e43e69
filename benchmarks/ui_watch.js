// In every page that is measured: when a person did something, and when the picture of what came of it was complete.
//
// Complete: the server has answered since and its script has ended, every chart has its drawing, nothing stale is left,
// and then nothing has come or changed in the page for QUIET_MS. The moment that counts is that of the last change, not of
// the end of the quiet: when the frame with this change has been handed to the screen.

const QUIET_MS = 300;
// Streamlit's own signs that it runs; what a table's canvas holds for screen readers, some time after its picture; where
// plotly measures text.
const OUTSIDE = "[data-testid=stHeader], [data-testid=stStatusWidget], canvas, #js-plotly-tester";

// Moments in ms. heard: of the server's last message; changed: of the last change, and of the last that was not in a chart
// beyond the screen; begun: when there was something to read, which shifts then move
const seen = { acted: 0, heard: 0, changed: { anywhere: 0, onScreen: 0 }, begun: Infinity, shifts: [] };
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
  const counted = records.filter(({ target }) => target.isConnected && target !== app && !within(target, OUTSIDE));
  if (!counted.length) return;
  const isSeen = counted.some(({ target }) => within(target, ".figure")?.isOnScreen !== false);
  const end = new MessageChannel(); // its message arrives after the frame is painted
  end.port1.onmessage = () => {
    seen.changed.anywhere = Math.max(seen.changed.anywhere, performance.now());
    if (isSeen) seen.changed.onScreen = Math.max(seen.changed.onScreen, performance.now());
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

function within(node, selector) {
  return (node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement)?.closest(selector);
}

function state() {
  return document.querySelector("[data-testid=stApp]")?.dataset.testScriptState;
}

function complete() {
  const charts = [...document.querySelectorAll(".figure")];
  return (
    seen.heard > seen.acted &&
    state() === "notRunning" &&
    charts.every((chart) => chart.querySelector(".main-svg") && !chart.hasAttribute("aria-busy")) &&
    !document.querySelector("[data-testid=stMain] [data-stale=true], [data-testid=stMain] [data-testid=stSkeleton]") &&
    performance.now() - Math.max(seen.heard, seen.changed.anywhere) > QUIET_MS
  );
}

// What a benchmark asks for.
window.watch = {
  complete,
  milliseconds: () => seen.changed.anywhere - seen.acted,
  millisecondsOnScreen: () => seen.changed.onScreen - seen.acted,
  shifts: () => seen.shifts.filter(({ at }) => at > seen.begun),
  firstPaint: () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime,
};
