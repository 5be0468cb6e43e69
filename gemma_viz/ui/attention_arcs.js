// Attention as lines between two columns of the same tokens. Only what can be seen is drawn, so that 512 tokens stay
// fast. touch.js stands before this. Token texts come from visitors: they are only ever set as textContent.

const FAINTEST = 0.02; // weights below are not drawn
const READ_OUT = 4; // tokens named in the line below, per head
const PATIENCE_MS = 1500; // how long the person's switches outrank what an older run of the page says

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".arcs");
  root.send = (position) => setTriggerValue("picked", position);
  root.switch = (heads) => setTriggerValue("switched", heads);
  const state = (root.state ??= { drawn: null, on: new Set(), hover: null, switchedUntil: 0 });
  if (performance.now() > state.switchedUntil) state.on = new Set(data.on);
  const content = JSON.stringify([data.first, data.labels, data.keys, data.weights]);
  if (state.drawn !== content) {
    Object.assign(state, { drawn: content, hover: null, ...unpacked(data) });
    build(root, state);
  }
  root.querySelectorAll(".heads button").forEach((button, head) => button.setAttribute("aria-pressed", state.on.has(head)));
  if (state.selected !== data.selected) {
    state.selected = data.selected;
    reveal(root, state);
  }
  listen(root, state);
  render(root, state);
}

function unpacked({ height, first, labels, nRanks, colours, keys, weights }) {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return { height, first, labels, nRanks, colours, keys: new Uint16Array(bytes(keys).buffer), weights: bytes(weights) };
}

function build(root, state) {
  root.style.height = `${state.height}px`;
  root.querySelector(".heads").replaceChildren(...state.colours.map((colour, head) => headButton(root, state, colour, head)));
  for (const side of ["queries", "keys"])
    root.querySelector(`.${side}`).replaceChildren(...state.labels.map((text, row) => token(state, text, row, side)));
}

function headButton(root, state, colour, head) {
  const button = document.createElement("button");
  button.textContent = `head ${head}`;
  button.style.setProperty("--colour", colour);
  button.addEventListener("click", () => {
    state.on.has(head) ? state.on.delete(head) : state.on.add(head);
    state.switchedUntil = performance.now() + PATIENCE_MS;
    button.setAttribute("aria-pressed", state.on.has(head));
    render(root, state);
    root.switch([...state.on]);
  });
  return button;
}

function token(state, text, row, side) {
  const element = document.createElement("div");
  element.className = "token";
  element.dataset.row = row;
  element.textContent = text;
  element.title = `token ${state.first + row}: ${text}`;
  if (side === "queries") {
    element.setAttribute("role", "option");
    element.tabIndex = -1;
  }
  return element;
}

function listen(root, state) {
  if (root.listening) return;
  root.listening = true;
  const scroll = root.querySelector(".scroll");
  const queries = root.querySelector(".queries");
  const look = (hover) => {
    state.hover = hover;
    render(root, state);
  };
  for (const side of ["queries", "keys"])
    root.querySelector(`.${side}`).addEventListener("pointerover", (event) => {
      const row = event.target.closest(".token")?.dataset.row;
      if (row !== undefined) look({ side, row: Number(row) });
    });
  // A finger that is lifted leaves too; what it has shown stays.
  scroll.addEventListener("pointerleave", ({ pointerType }) => pointerType === "touch" || look(null));
  scroll.addEventListener("scroll", () => render(root, state));
  new ResizeObserver(() => render(root, state)).observe(scroll);
  scroll.addEventListener("click", (event) => {
    const token = event.target.closest(".token");
    if (!token) return;
    const row = Number(token.dataset.row);
    if (token.parentElement !== queries) return look({ side: "keys", row }); // the last one's focus has gone only now
    if (!firstTap(root, event, token)) choose(root, state, row);
  });
  queries.addEventListener("focusin", (event) => look({ side: "queries", row: Number(event.target.dataset.row) }));
  queries.addEventListener("focusout", () => look(null));
  queries.addEventListener("keydown", (event) => move(root, state, event));
}

function move(root, state, event) {
  const here = Number(event.target.dataset.row);
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    return choose(root, state, here);
  }
  const last = state.labels.length - 1;
  const target = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: last }[event.key];
  if (target === undefined) return;
  event.preventDefault();
  root.querySelectorAll(".queries .token")[Math.min(Math.max(target, 0), last)].focus();
}

function choose(root, state, row) {
  state.selected = state.first + row;
  render(root, state);
  root.send(state.selected);
}

// Scrolls inside the view only; scrollIntoView would move the page too.
function reveal(root, state) {
  const scroll = root.querySelector(".scroll");
  const element = root.querySelectorAll(".queries .token")[state.selected - state.first];
  if (element) scroll.scrollTop = element.offsetTop - scroll.clientHeight / 2;
}

function render(root, state) {
  if (state.waiting) return;
  state.waiting = true;
  requestAnimationFrame(() => {
    state.waiting = false;
    paint(root, state);
  });
}

function paint(root, state) {
  const scroll = root.querySelector(".scroll");
  const queries = [...root.querySelectorAll(".queries .token")];
  if (!queries.length || !scroll.clientHeight) return;
  const rowHeight = queries.length > 1 ? queries[1].offsetTop - queries[0].offsetTop : queries[0].offsetHeight;
  const focus = state.hover ?? { side: "queries", row: state.selected - state.first };
  const lines = linesOf(state, focus);
  strokes(root, state, lines, scroll, rowHeight);
  shade(root, state, lines, focus);
  queries.forEach((element, row) => {
    const selected = row === state.selected - state.first;
    element.setAttribute("aria-selected", selected);
    element.tabIndex = selected ? 0 : -1;
  });
  root.querySelector(".said").textContent = said(state, focus, lines);
}

// All lines that begin or end at the token in focus: {head, query, key, weight}.
function linesOf(state, focus) {
  const found = [];
  const n = state.labels.length;
  for (const head of state.on)
    for (let query = focus.side === "queries" ? focus.row : 0; query < (focus.side === "queries" ? focus.row + 1 : n); query++)
      for (let rank = 0; rank < state.nRanks; rank++) {
        const at = (head * n + query) * state.nRanks + rank;
        const weight = state.weights[at] / 255;
        if (weight < FAINTEST) break;
        if (focus.side === "queries" || state.keys[at] === focus.row) found.push({ head, query, key: state.keys[at], weight });
      }
  return found;
}

function strokes(root, state, lines, scroll, rowHeight) {
  const canvas = root.querySelector("canvas");
  const width = canvas.parentElement.clientWidth;
  const height = scroll.clientHeight;
  const ratio = window.devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const middle = (row) => (row + 0.5) * rowHeight - scroll.scrollTop;
  const line = ({ head, query, key, weight }, strength) => {
    context.globalAlpha = Math.min(1, weight * strength);
    context.strokeStyle = state.colours[head];
    context.beginPath();
    context.moveTo(0, middle(query));
    context.bezierCurveTo(width / 2, middle(query), width / 2, middle(key), width, middle(key));
    context.stroke();
  };
  context.lineWidth = 1;
  const top = Math.floor(scroll.scrollTop / rowHeight);
  const bottom = Math.ceil((scroll.scrollTop + height) / rowHeight);
  for (let row = Math.max(0, top); row < Math.min(state.labels.length, bottom); row++)
    for (const one of linesOf(state, { side: "queries", row })) line(one, 0.3);
  context.lineWidth = 2.5;
  for (const one of lines) line(one, 1);
}

// The tokens at the other ends, tinted by the weight of all heads that are on.
function shade(root, state, lines, focus) {
  const other = focus.side === "queries" ? "key" : "query";
  const strongest = new Map();
  for (const one of lines)
    if (!(strongest.get(one[other])?.weight > one.weight)) strongest.set(one[other], one);
  for (const side of ["queries", "keys"])
    root.querySelectorAll(`.${side} .token`).forEach((element, row) => {
      const best = side === (other === "key" ? "keys" : "queries") ? strongest.get(row) : undefined;
      const tint = best ? `color-mix(in srgb, ${state.colours[best.head]} ${Math.round(best.weight * 70)}%, transparent)` : "";
      element.style.backgroundColor = tint;
      element.classList.toggle("focus", side === focus.side && row === focus.row);
    });
}

function said(state, focus, lines) {
  const name = (row) => `${state.first + row} ${state.labels[row]}`;
  const parts = [...state.on].sort((a, b) => a - b).map((head) => {
    const own = lines.filter((line) => line.head === head).sort((a, b) => b.weight - a.weight);
    const other = (line) => (focus.side === "queries" ? line.key : line.query);
    const best = own.slice(0, READ_OUT).map((line) => `${name(other(line))} ${line.weight.toFixed(2)}`);
    return `head ${head}: ${best.join(", ") || "–"}`;
  });
  const verb = focus.side === "queries" ? "reads" : "is read by";
  return parts.length ? `${name(focus.row)} ${verb} · ${parts.join(" · ")}` : "No head is switched on.";
}
