// A map of coloured cells as a listbox; listbox.js stands before this.

const NO_NUMBER = [136, 136, 136];
const PATIENCE_MS = 1500; // how long the person's choice outranks what an older run of the page says

export default function ({ data, parentElement, setTriggerValue }) {
  const map = parentElement.querySelector(".patches");
  map.send = (at) => setTriggerValue("picked", at);
  const page = rgb(getComputedStyle(map).backgroundColor);
  const shown = JSON.stringify([data.columns, data.values, data.moved, data.legend, page]);
  if (map.shown !== shown) {
    map.shown = shown;
    draw(map, data, page);
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

function draw(map, { columns, values, moved, ends, legend, what }, page) {
  const [away, towards] = ends[isDark(page) ? "dark" : "light"].map(rgb);
  const colour = (share) => mixed(page, share < 0 ? away : towards, Math.min(Math.abs(share), 1));
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
    cells.append(cell(at, value, moved[at] === null ? NO_NUMBER : colour(moved[at]), `layer ${layer}, ${what} ${column.name}: ${value}`));
  });
  map.replaceChildren(explained(legend, [-1, 0, 1].map(colour)), cells);
}

function cell(at, value, colour, title) {
  const option = part("cell", value);
  option.dataset.at = at;
  option.tabIndex = -1;
  option.title = title;
  option.style.backgroundColor = `rgb(${colour})`;
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
  colours.style.background = `linear-gradient(to right, ${scale.map((colour) => `rgb(${colour})`).join(", ")})`;
  explained.append(colours, part("left", legend[0]), part("middle", legend[1]), part("right", legend[2]));
  return explained;
}

// For the eyes only: a cell says its layer and token itself.
function hidden(kind, text) {
  const span = part(kind, text);
  span.setAttribute("aria-hidden", "true");
  return span;
}

// Red, green and blue, 0 to 255, of "#0e1117" or "rgb(14, 17, 23)".
function rgb(colour) {
  if (!colour.startsWith("#")) return colour.match(/\d+/g).slice(0, 3).map(Number);
  return [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
}

function mixed(from, to, share) {
  return from.map((part, i) => Math.round(part + (to[i] - part) * share));
}

// Whether white is easier to read on it than black: WCAG's relative luminance, which is 0.179 where both are equal.
function isDark(colour) {
  const linear = colour.map((part) => part / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] < 0.179;
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
