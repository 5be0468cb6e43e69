// Small attention maps as a listbox; touch.js and listbox.js stand before this.

const PATIENCE_MS = 1500; // how long the person's choice outranks what an older run of the page says

export default function ({ data, parentElement, setTriggerValue }) {
  const grid = parentElement.querySelector(".maps");
  grid.send = (at) => setTriggerValue("picked", at);
  const shown = JSON.stringify([data.maps, data.seen, data.heads]);
  if (grid.shown !== shown) {
    grid.shown = shown;
    draw(grid, data);
    grid.choice = null;
  }
  const rowLength = (options) => grid.columns || perRow(options);
  listenToOptions(grid, ".map", (option, event) => firstTap(grid, event, option) || choose(grid, option), rowLength);
  const own = grid.choice;
  if (own && own.at !== data.chosen && performance.now() < own.until) return;
  grid.choice = null;
  markChosen(grid, grid.querySelector(`[data-at="${data.chosen}"]`), grid.querySelector(".map"));
}

function draw(grid, { side, maps, seen, heads, columns, palette }) {
  const [cells, open] = [maps, seen].map((text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));
  const grids = (all, at) => all.subarray(at * side * side, (at + 1) * side * side);
  const colours = shades(palette);
  grid.columns = columns;
  grid.classList.toggle("ordered", columns === 0);
  grid.style.setProperty("--columns", columns || 1);
  const parts = [];
  if (columns) {
    parts.push(label("corner", ""));
    for (let head = 0; head < columns; head++) parts.push(label("column", head));
  }
  heads.forEach((head, at) => {
    if (columns && head.head === 0) parts.push(label("row", head.layer));
    const map = picture(grids(cells, at), grids(open, head.seen), side, colours);
    parts.push(option(head, at, map, columns === 0));
  });
  grid.replaceChildren(...parts);
}

function option(head, at, canvas, named) {
  const option = document.createElement("div");
  option.className = "map";
  option.dataset.at = at;
  option.tabIndex = -1;
  option.title = head.title;
  option.setAttribute("role", "option");
  option.setAttribute("aria-label", head.title);
  option.setAttribute("aria-selected", "false");
  option.append(canvas);
  if (named) option.append(label("name", head.name), label("number", head.number));
  return option;
}

// The chosen option says its layer and head itself, so these are for the eyes only.
function label(kind, text) {
  const span = part(kind, text);
  span.setAttribute("aria-hidden", "true");
  return span;
}

// The square root lets weak attention be seen: a weight of 0.1 is drawn at a third of the scale.
function shades(palette) {
  const stops = palette.map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  return Array.from({ length: 256 }, (_, value) => {
    const place = Math.sqrt(value / 255) * (stops.length - 1);
    const below = Math.min(Math.floor(place), stops.length - 2);
    return stops[below].map((c, i) => c + (stops[below + 1][i] - c) * (place - below));
  });
}

// What no token of a row may look at stays empty.
function picture(map, seen, side, colours) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  const image = context.createImageData(side, side);
  map.forEach((weight, at) => image.data.set([...colours[weight], seen[at] ? 255 : 0], at * 4));
  context.putImageData(image, 0, 0);
  return canvas;
}

function perRow(options) {
  const top = options[0].offsetTop;
  const wrapped = [...options].findIndex((option) => option.offsetTop > top);
  return wrapped < 0 ? options.length : wrapped;
}

function choose(grid, option) {
  const at = Number(option.dataset.at);
  grid.choice = { at, until: performance.now() + PATIENCE_MS };
  markChosen(grid, option);
  option.focus({ preventScroll: true });
  grid.send(at);
}
