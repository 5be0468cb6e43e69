// Small attention maps as a listbox: one tab stop, arrow keys move, Enter and Space choose, as a click does.

const PATIENCE_MS = 1500; // how long the person's choice outranks what an older run of the page says

export default function ({ data, parentElement, setTriggerValue }) {
  const grid = parentElement.querySelector(".maps");
  grid.send = (at) => setTriggerValue("picked", at);
  const shown = JSON.stringify([data.maps, data.heads]);
  if (grid.shown !== shown) {
    grid.shown = shown;
    draw(grid, data);
    grid.choice = null;
  }
  listen(grid);
  const own = grid.choice;
  if (own && own.at !== data.chosen && performance.now() < own.until) return;
  grid.choice = null;
  mark(grid, data.chosen);
}

function draw(grid, { side, maps, heads, columns, palette }) {
  const cells = Uint8Array.from(atob(maps), (c) => c.charCodeAt(0));
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
    const map = cells.subarray(at * side * side, (at + 1) * side * side);
    parts.push(option(head, at, picture(map, side, colours), columns === 0));
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
  if (named) option.append(label("name", `${head.layer}.${head.head}`), label("number", head.number));
  return option;
}

function label(kind, text) {
  const span = document.createElement("span");
  span.className = kind;
  span.textContent = text;
  if (kind !== "name" && kind !== "number") span.setAttribute("aria-hidden", "true");
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

function picture(map, side, colours) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  const image = context.createImageData(side, side);
  for (let row = 0; row < side; row++)
    for (let column = 0; column <= row; column++) { // a token may not look at later ones: the rest stays empty
      const at = row * side + column;
      image.data.set(colours[map[at]], at * 4);
      image.data[at * 4 + 3] = 255;
    }
  context.putImageData(image, 0, 0);
  return canvas;
}

function listen(grid) {
  if (grid.listening) return;
  grid.listening = true;
  grid.addEventListener("click", (event) => {
    const option = event.target.closest(".map");
    if (option) choose(grid, Number(option.dataset.at));
  });
  grid.addEventListener("keydown", (event) => {
    const option = event.target.closest(".map");
    if (!option) return;
    const here = Number(option.dataset.at);
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      return choose(grid, here);
    }
    const options = grid.querySelectorAll(".map");
    const down = grid.columns || perRow(options);
    const moves = { ArrowRight: here + 1, ArrowLeft: here - 1, ArrowDown: here + down, ArrowUp: here - down };
    const target = { ...moves, Home: 0, End: options.length - 1 }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    const next = options[Math.min(Math.max(target, 0), options.length - 1)];
    makeTabStop(grid, next);
    next.focus();
  });
}

function perRow(options) {
  const top = options[0].offsetTop;
  const wrapped = [...options].findIndex((option) => option.offsetTop > top);
  return wrapped < 0 ? options.length : wrapped;
}

function choose(grid, at) {
  grid.choice = { at, until: performance.now() + PATIENCE_MS };
  mark(grid, at);
  grid.querySelector(`[data-at="${at}"]`).focus({ preventScroll: true });
  grid.send(at);
}

function mark(grid, at) {
  grid.querySelector("[aria-selected=true]")?.setAttribute("aria-selected", "false");
  const option = at === null ? null : grid.querySelector(`[data-at="${at}"]`);
  option?.setAttribute("aria-selected", "true");
  makeTabStop(grid, option ?? grid.querySelector(".map"));
}

function makeTabStop(grid, option) {
  const before = grid.querySelector("[tabindex='0']");
  if (before) before.tabIndex = -1;
  if (option) option.tabIndex = 0;
}
