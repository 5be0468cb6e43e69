// A map of coloured cells as a listbox; listbox.js stands before this.

const PATIENCE_MS = 1500; // how long the person's choice outranks what an older run of the page says

export default function ({ data, parentElement, setTriggerValue }) {
  const map = parentElement.querySelector(".patches");
  map.send = (at) => setTriggerValue("picked", at);
  const shown = JSON.stringify([data.columns, data.values, data.colours, data.legend]);
  if (map.shown !== shown) {
    map.shown = shown;
    draw(map, data);
    map.choice = null;
  }
  listenToOptions(map, ".cell", (option) => choose(map, option), () => map.columns);
  const own = map.choice;
  if (own && own.at !== data.chosen && performance.now() < own.until) return;
  map.choice = null;
  const chosen = map.querySelector(`[data-at="${data.chosen}"]`);
  markChosen(map, chosen, map.querySelector(".cell"));
  if (chosen) reveal(map, chosen);
}

function draw(map, { columns, values, colours, legend, scale, what }) {
  map.columns = columns.length;
  const cells = document.createElement("div");
  cells.className = "cells";
  cells.setAttribute("role", "presentation");
  cells.style.setProperty("--columns", columns.length);
  cells.append(hidden("corner", ""), ...columns.map(heading));
  values.forEach((value, at) => {
    const layer = Math.floor(at / columns.length);
    const column = columns[at % columns.length];
    if (at % columns.length === 0) cells.append(hidden("row", layer));
    cells.append(cell(at, value, colours[at], `layer ${layer}, ${what} ${column.name}: ${value}`));
  });
  map.replaceChildren(explained(legend, scale), cells);
}

function cell(at, value, colour, title) {
  const option = part("cell", value);
  option.dataset.at = at;
  option.tabIndex = -1;
  option.title = title;
  option.style.backgroundColor = colour;
  option.classList.toggle("dark", isDark(colour));
  option.setAttribute("role", "option");
  option.setAttribute("aria-label", title);
  option.setAttribute("aria-selected", "false");
  return option;
}

function heading({ label, other }) {
  const heading = hidden("column", "");
  heading.append(part("own", label));
  if (other) heading.append(part("other", other));
  return heading;
}

function explained(legend, scale) {
  const explained = hidden("legend", "");
  const colours = part("colours", "");
  colours.style.background = `linear-gradient(to right, ${scale.join(", ")})`;
  explained.append(colours, part("left", legend[0]), part("middle", legend[1]), part("right", legend[2]));
  return explained;
}

// For the eyes only: a cell says its layer and token itself.
function hidden(kind, text) {
  const span = part(kind, text);
  span.setAttribute("aria-hidden", "true");
  return span;
}

function isDark(hex) {
  const [red, green, blue] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue < 140;
}

// Scrolls inside the map only; scrollIntoView would move the page too.
function reveal(map, option) {
  const left = option.offsetLeft - map.offsetLeft;
  if (left < map.scrollLeft || left + option.offsetWidth > map.scrollLeft + map.clientWidth)
    map.scrollLeft = left - map.clientWidth / 2;
}

function choose(map, option) {
  const at = Number(option.dataset.at);
  map.choice = { at, until: performance.now() + PATIENCE_MS };
  markChosen(map, option);
  option.focus({ preventScroll: true });
  map.send(at);
}
