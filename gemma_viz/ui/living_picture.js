// The pass as a picture that plays; touch.js and listbox.js stand before this. Rows: the text, the embedding, an
// attention and an MLP for each layer, the final norm, the output. Columns: as many of the tokens as there is room for.
// Texts come from visitors: they are only ever set as textContent.

const ROW = { text: 42, embedding: 24, layer: 14, manyLayers: 10, norm: 24, output: 50 }; // heights in pixels
const MANY_LAYERS = 30;
const NARROWEST = 56; // pixels of a column, so that most words can be read
const WIDE = 620; // pixels of the board from which on there is room for what a stream is read out as on the way
const STEM = { thin: 1.5, thick: 15 }; // pixels
const READING_MS = { least: 2500, perCharacter: 20 }; // how long a row's sentence stays while it plays
const SAY_MS = 8000; // at most so often is what happens read out meanwhile, which takes longer
const READ = 3; // tokens, of those that attention reads, in the data
const FAINTEST = 0.02; // weights below are not drawn
const SVG = "http://www.w3.org/2000/svg";

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".living");
  root.send = setTriggerValue;
  const state = (root.state ??= { front: Infinity, playing: false, hover: null });
  const content = JSON.stringify(data);
  if (state.content !== content) {
    const subject = JSON.stringify({ ...data.parameters, layer: "", token: "" });
    if (state.subject !== subject) Object.assign(state, { subject, front: Infinity, playing: false });
    Object.assign(state, unpacked(data), { content, hover: null, columns: null });
    state.front = Math.min(state.front, lastRow(state));
  }
  listen(root, state);
  layOut(root, state);
}

function unpacked(data) {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const floats = (text) => new Float32Array(bytes(text));
  const rms = floats(data.rms);
  const sizes = rms.filter((one) => Number.isFinite(one) && one > 0);
  return {
    ...data,
    rms,
    smallest: Math.min(...sizes),
    largest: Math.max(...sizes),
    attention: floats(data.attention),
    mlp: floats(data.mlp),
    read: new Int32Array(bytes(data.read)),
    weights: floats(data.weights),
  };
}

const lastRow = (state) => 2 * state.nLayers + 3;
const layerOf = (row) => Math.floor((row - 2) / 2);

function kindOf(state, row) {
  if (row < 2) return ["text", "embedding"][row];
  if (row > lastRow(state) - 2) return row === lastRow(state) ? "output" : "norm";
  return row % 2 ? "mlp" : "attention";
}

function heightOf(state, row) {
  return ROW[kindOf(state, row)] ?? (state.nLayers > MANY_LAYERS ? ROW.manyLayers : ROW.layer);
}

// The upper edge of a row, or with the row after the last one the lower edge of the board.
function topOf(state, row) {
  let top = 0;
  for (let above = 0; above < row; above++) top += heightOf(state, above);
  return top;
}

// Values of the column that is drawn at a place: the data has more tokens where there is not room for all.
const placeIn = (state, row, column) => row * state.tokens.length + state.from + column;
const rmsAt = (state, depth, column) => state.rms[placeIn(state, depth, column)];
const ratioAt = (state, kind, layer, column) => state[kind][placeIn(state, layer, column)];
const chosenColumn = (state) => state.selected - state.first - state.from;
const positionAt = (state, column) => state.first + state.from + column;

// The tokens that an attention reads most, and how much of each, as far as it is worth drawing.
function readsOf(state, layer, column) {
  const first = placeIn(state, layer, column) * READ;
  return Array.from({ length: READ }, (_, rank) => ({
    position: state.read[first + rank],
    weight: state.weights[first + rank],
  })).filter(({ weight }) => weight >= FAINTEST);
}

// Of the update a share of the room: half of it for one as large as the stream, and never more than all.
const lengthOf = (ratio) => (Number.isFinite(ratio) ? ratio / (1 + ratio) : 1);

// Columns

function layOut(root, state) {
  const board = root.querySelector(".board");
  const width = board.clientWidth;
  if (!width) return;
  const wide = width >= WIDE;
  const room = width - (wide ? 243 : 72);
  const n = Math.min(state.tokens.length, Math.max(1, Math.floor(room / NARROWEST)));
  const from = Math.max(0, Math.min(state.selected - state.first - Math.floor(n / 2), state.tokens.length - n));
  const columns = JSON.stringify([n, from, wide]);
  if (state.columns !== columns) {
    Object.assign(state, { columns, from, n, wide });
    build(root, board, state);
  }
  draw(root, board, state);
  show(root, state);
}

function build(root, board, state) {
  const focused = board.contains(board.getRootNode().activeElement);
  const rows = Array.from({ length: lastRow(state) + 1 }, (_, row) => heightOf(state, row));
  board.style.gridTemplateRows = rows.map((height) => `${height}px`).join(" ");
  board.style.setProperty("--tokens", state.n);
  board.classList.toggle("wide", state.wide);
  const cells = rows.flatMap((_, row) => [...rowLabels(state, row), ...columnCells(state, row)]);
  board.querySelectorAll(".cell, .guess").forEach((old) => old.remove());
  board.append(...cells, ...(state.wide ? guesses(state) : []));
  const stop = board.querySelector(`[data-row="0"][data-column="${chosenColumn(state)}"]`);
  makeTabStop(board, stop);
  if (focused) stop.focus({ preventScroll: true });
  root.querySelector(".place").max = lastRow(state);
  root.querySelector(".seen").setAttribute("aria-label", state.seen);
  root.querySelector(".said").replaceChildren(part("now", ""), ...state.said.map(room));
  root.querySelector(".shown").textContent = shownOf(state);
}

// Each sentence keeps its room, so that nothing moves while it plays.
function room(said) {
  const kept = part("room", "");
  kept.dataset.said = said;
  return kept;
}

const LABELS = {
  text: ["Tokens", "Tokenization"],
  embedding: ["Embedding", "Embedding"],
  attention: ["attention", "Attention"],
  mlp: ["MLP", "MLP"],
  norm: ["Final norm", "Output"],
  output: ["Next token", "Output"],
};

function rowLabels(state, row) {
  const kind = kindOf(state, row);
  const layer = layerOf(row);
  const [name, page] = LABELS[kind];
  const ofLayer = layerFor(kind, row) < 0 ? "" : ` of layer ${layer}`;
  const label = cell(state, row, -1, kind, part("", name), `${name}${ofLayer}, opens ${page}`);
  if (kind !== "attention") return [label];
  const number = part("", state.wide ? `Layer ${layer}` : layer);
  return [cell(state, row, -2, "layer", number, `Layer ${layer}, opens Transformer layer`), label];
}

function columnCells(state, row) {
  return Array.from({ length: state.n }, (_, column) => {
    const token = state.tokens[state.from + column];
    const kind = kindOf(state, row);
    const here = cell(state, row, column, kind, inside(kind, token), titleOf(state, row, column));
    if (kind === "text") here.classList.toggle("special", token.special);
    here.style.setProperty("--colour", token.colour);
    here.classList.toggle("selected", positionAt(state, column) === state.selected);
    return here;
  });
}

function inside(kind, token) {
  if (kind !== "output") return part("word", kind === "text" ? token.text : "");
  const next = part("next", "");
  next.style.setProperty("--share", `${Math.round(100 * token.next.share)}%`);
  next.append(part("word", token.next.text), part("percent", token.next.percent));
  return next;
}

// Links, so that a part can be opened in another tab too. The tokens choose, they do not lead away.
function cell(state, row, column, kind, content, title) {
  const chooses = kind === "text" && column >= 0;
  const element = document.createElement(chooses ? "button" : "a");
  element.className = `cell ${kind}${column < 0 ? " name" : ""}`;
  Object.assign(element.dataset, { row, column, kind });
  element.tabIndex = -1;
  element.title = title;
  element.setAttribute("aria-label", title);
  element.style.gridRow = kind === "layer" ? `${row + 1} / span 2` : row + 1;
  const under = { layer: 1, attention: 2, mlp: 2 }[kind] ?? "1 / span 2";
  element.style.gridColumn = column >= 0 ? column + 3 : under;
  if (!chooses) element.href = address(state, kind, layerFor(kind, row), positionFor(state, column));
  element.append(content);
  return element;
}

const layerFor = (kind, row) => (["layer", "attention", "mlp"].includes(kind) ? layerOf(row) : -1);
const positionFor = (state, column) => (column >= 0 ? positionAt(state, column) : -1);

function address(state, kind, layer, position) {
  const parameters = new URLSearchParams(state.parameters);
  const set = (name, value, byDefault) =>
    value === byDefault ? parameters.delete(name) : value >= 0 && parameters.set(name, value);
  set("layer", layer, 0);
  set("token", position, state.lastToken);
  if (position >= 0 && position !== state.selected) state.ofToken.forEach((name) => parameters.delete(name));
  return `${state.pages[kind]}?${parameters}`;
}

function guesses(state) {
  const head = part("guess", "so far it would say");
  head.title = "What the output would make of the selected token’s stream before its last layer (logit lens)";
  head.style.gridRow = 2;
  return [
    head,
    ...Object.entries(state.early).map(([depth, { text, percent }]) => {
      const guess = part("guess", "");
      guess.style.gridRow = `${2 * depth + 1} / span 2`;
      guess.title = `after ${depth} layers: ${text}, ${percent}`;
      guess.append(part("word", text), part("percent", percent));
      return guess;
    }),
  ].map((element) => {
    element.setAttribute("aria-hidden", "true"); // the sentences say it
    return element;
  });
}

// The front

function show(root, state) {
  const last = lastRow(state);
  const { front } = state;
  const whole = front === last;
  const band = root.querySelector(".band");
  band.style.top = `${topOf(state, front)}px`;
  band.style.height = `${heightOf(state, front)}px`;
  const veil = root.querySelector(".veil");
  veil.style.top = `${topOf(state, front + 1)}px`;
  veil.style.left = `${state.left}px`;
  root.classList.toggle("whole", whole);
  root.classList.toggle("playing", state.playing);
  const pointed = state.playing ? null : state.hover;
  const { row, column } = pointed ?? { row: front, column: chosenColumn(state) };
  const lines = kindOf(state, row) === "attention" ? reads(state, layerOf(row), column) : [];
  root.querySelector(".reads").replaceChildren(...lines);
  for (const bar of root.querySelectorAll(".updates rect")) {
    bar.classList.toggle("now", bar.dataset.row === String(front));
  }
  const said = state.said[front];
  root.querySelector(".said .now").textContent = pointed ? titleOf(state, row, column) : said;
  announce(root, state, said);
  const place = root.querySelector(".place");
  place.value = front;
  place.setAttribute("aria-valuetext", rowName(state, front));
  root.querySelector(".play").textContent = state.playing ? "Pause" : "Play";
  // Not disabled: that would take the focus from a button that has just been pressed for the last time.
  root.querySelector(".back").setAttribute("aria-disabled", front === 0);
  root.querySelector(".on").setAttribute("aria-disabled", whole);
}

// While it plays a screen reader hears a sentence now and then, not each of them.
function announce(root, state, said) {
  const now = performance.now();
  if (state.announced === said || (state.playing && now < (state.nextAnnouncement ?? 0))) return;
  state.announced = said;
  state.nextAnnouncement = now + SAY_MS;
  root.querySelector(".live").textContent = said;
}

function go(root, state, row) {
  state.front = Math.min(Math.max(row, 0), lastRow(state));
  show(root, state);
}

function play(root, state, on) {
  clearTimeout(state.timer);
  state.playing = on;
  if (on && state.front === lastRow(state)) state.front = -1;
  on ? tick(root, state) : show(root, state);
}

function tick(root, state) {
  if (!state.playing || !root.isConnected) return;
  if (state.front === lastRow(state)) return play(root, state, false);
  go(root, state, state.front + 1);
  const reading = READING_MS.perCharacter * state.said[state.front].length;
  state.timer = setTimeout(() => tick(root, state), Math.max(READING_MS.least, reading));
}

function listen(root, state) {
  if (root.listening) return;
  root.listening = true;
  const board = root.querySelector(".board");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const respect = () => {
    root.classList.toggle("still", still.matches);
    if (still.matches && state.playing) play(root, state, false);
  };
  still.addEventListener("change", respect);
  respect();
  root.querySelector(".play").addEventListener("click", () => play(root, state, !state.playing));
  const step = (by) => {
    play(root, state, false);
    go(root, state, state.front + by);
  };
  root.querySelector(".back").addEventListener("click", () => step(-1));
  root.querySelector(".on").addEventListener("click", () => step(1));
  root.querySelector(".place").addEventListener("input", (event) => step(Number(event.target.value) - state.front));
  board.addEventListener("click", (event) => choose(root, state, event));
  board.addEventListener("keydown", (event) => move(board, event));
  const look = (element) => {
    const { row, column } = element?.closest(".cell")?.dataset ?? {};
    const hover = column >= 0 ? { row: Number(row), column: Number(column) } : null;
    if (JSON.stringify(hover) === JSON.stringify(state.hover)) return;
    state.hover = hover;
    show(root, state);
  };
  for (const begins of ["pointerover", "focusin"]) board.addEventListener(begins, (event) => look(event.target));
  // A finger that is lifted leaves too; what it has shown stays.
  const leave = ({ pointerType }) => pointerType === "touch" || look(board.querySelector(".cell:focus-visible"));
  board.addEventListener("pointerleave", leave);
  board.addEventListener("focusout", () => look(null));
  new ResizeObserver(() => layOut(root, state)).observe(board);
}

function choose(root, state, event) {
  const chosen = event.target.closest(".cell");
  if (!chosen || event.ctrlKey || event.metaKey || event.shiftKey) return; // those open the link elsewhere
  event.preventDefault();
  if (firstTap(root, event, chosen)) return play(root, state, false);
  const { kind, row, column } = chosen.dataset;
  const position = positionFor(state, Number(column));
  if (chosen.tagName === "BUTTON") return root.send("picked", position);
  root.send("opened", [kind, layerFor(kind, Number(row)), position]);
}

// One tab stop; arrow keys go to the next cell there is in their direction, Home and End to the ends of a row.
function move(board, event) {
  const here = event.target.closest(".cell");
  const columns = Number(board.style.getPropertyValue("--tokens"));
  const toColumn = (column) => [0, column - Number(here.dataset.column)];
  const arrows = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };
  const step = here && { ...arrows, Home: toColumn(0), End: toColumn(columns - 1) }[event.key];
  if (!step) return;
  event.preventDefault();
  let [row, column] = [Number(here.dataset.row), Number(here.dataset.column)];
  const rows = board.style.gridTemplateRows.split(" ").length;
  let next;
  while (!next) {
    [row, column] = [row + step[0], column + step[1]];
    if (row < 0 || row >= rows || column < -2 || column >= columns) return;
    next = board.querySelector(`[data-row="${row}"][data-column="${column}"]`);
  }
  makeTabStop(board, next);
  next.focus();
}
