// A figure as plotly draws it, with the library that comes with the Python package.
//
// Streamlit's own element makes a chart anew whenever its values change, and draws it several times. Here a chart that is
// there already is changed in place and drawn once: what is on the screen at once, the rest when the browser has time.

const PAPER_WIDTH = 680; // pixels; fits on A4 and on Letter
const PATIENCE_MS = 1000; // of what is not on the screen
const RESIZE_AFTER_MS = 100; // the sidebar takes some steps to open
const FULLSCREEN = { width: 24, height: 24, path: "M3 3h7v3H6v4H3zM14 3h7v7h-3V6h-4zM3 14h3v4h4v3H3zM18 14h3v7h-7v-3h4z" };

const places = new Set();
let loading; // the library, once it has been asked for
let config; // one for all: where it differs from the last one plotly makes a chart anew

const onScreen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    target.isOnScreen = isIntersecting;
    show(target);
  }
});

const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    clearTimeout(target.resizing);
    target.resizing = setTimeout(() => (isDrawn(target) ? fit(target) : show(target)), RESIZE_AFTER_MS);
  }
});

export default function ({ data, parentElement }) {
  const place = parentElement.querySelector(".figure");
  const paint = paintOf(place);
  const asked = JSON.stringify([data, paint]);
  if (place.asked !== asked) {
    place.asked = asked;
    place.wanted = { ...data, template: template(paint) };
    place.style.height = `${data.height}px`;
    place.setAttribute("aria-label", data.alt);
    place.setAttribute("aria-busy", true);
    show(place);
  }
  if (!places.has(place)) {
    places.add(place);
    onScreen.observe(place);
    sizes.observe(place);
  }
  load(data.library);
  return () => {
    places.delete(place);
    onScreen.unobserve(place);
    sizes.unobserve(place);
    window.Plotly?.purge(place);
  };
}

function paintOf(place) {
  const style = getComputedStyle(place);
  const colour = (name) => style.getPropertyValue(`--st-${name}`);
  return {
    ink: colour("text-color"),
    faint: colour("gray-text-color"),
    grid: colour("border-color-light"),
    ground: colour("background-color"),
    font: colour("font"),
    size: 12,
    colours: colour("chart-categorical-colors").split(","),
  };
}

function load(address) {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = resolve;
    script.onerror = reject;
    document.head.append(script);
  }).then(
    () => {
      config = settings();
      for (const place of places) {
        place.textContent = ""; // an earlier try may have failed, and said so
        show(place);
      }
    },
    () => {
      loading = undefined; // the next chart that is sent asks again
      for (const place of places) place.textContent = "Charts could not be drawn: the library for them did not arrive. Reload the page.";
    },
  );
}

function settings() {
  const picture = (place) => Plotly.downloadImage(place, place.wanted.image);
  return {
    displaylogo: false,
    showSendToCloud: false, // nothing leaves this machine
    modeBarButtonsToRemove: ["toImage", "select2d", "lasso2d"],
    modeBarButtonsToAdd: [
      { name: "picture", title: "Download as a PNG", icon: Plotly.Icons.camera, click: picture },
      { name: "fullscreen", title: "Fullscreen", icon: FULLSCREEN, click: toggleFullscreen },
    ],
  };
}

function isDrawn(place) {
  return place.drawn === place.wanted;
}

function show(place) {
  if (place.isOnScreen) draw(place);
  else whenIdle(() => draw(place));
}

// Safari does not say when it is idle.
function whenIdle(act) {
  if (window.requestIdleCallback) requestIdleCallback(act, { timeout: PATIENCE_MS });
  else setTimeout(act, PATIENCE_MS);
}

// Nothing without the library, which shows all places when it comes. A place that is hidden has no width: it is drawn when
// it gets one.
function draw(place) {
  if (!config || isDrawn(place) || !place.clientWidth) return;
  place.drawn = place.wanted;
  const { data, layout, frames } = JSON.parse(place.wanted.figure);
  Object.assign(layout, { template: place.wanted.template }, sizeOf(place));
  Plotly.react(place, { data, layout, frames, config });
  place.removeAttribute("aria-busy");
}

function sizeOf(place) {
  return { width: place.clientWidth, height: place.clientHeight };
}

function fit(place) {
  const { width, height } = sizeOf(place);
  if (width && (width !== place.layout.width || height !== place.layout.height)) Plotly.relayout(place, { width, height });
}

function toggleFullscreen(place) {
  if (document.fullscreenElement) document.exitFullscreen();
  else place.requestFullscreen();
}

addEventListener("beforeprint", () => {
  for (const place of places) {
    draw(place);
    if (isDrawn(place)) Plotly.relayout(place, { width: PAPER_WIDTH });
  }
});

addEventListener("afterprint", () => places.forEach((place) => isDrawn(place) && fit(place)));
