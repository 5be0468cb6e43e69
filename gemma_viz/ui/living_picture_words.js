// What the living picture says of its rows, cells and numbers; living_picture.js stands before this.

function rowName(state, row) {
  const kind = kindOf(state, row);
  const inLayer = { attention: "attention", mlp: "MLP" }[kind];
  if (inLayer) return `layer ${layerOf(row)}, ${inLayer}`;
  return { text: "tokenization", embedding: "embedding", norm: "final norm", output: "output" }[kind];
}

// What a cell says when it is looked at.
function titleOf(state, row, column) {
  const kind = kindOf(state, row);
  const opens = kind === "text" ? "" : `; opens ${LABELS[kind][1]}`;
  const { text } = state.tokens[state.from + column];
  return `Token ${positionAt(state, column)} ${text}, ${told(state, row, column)}${opens}`;
}

function told(state, row, column) {
  const kind = kindOf(state, row);
  const token = state.tokens[state.from + column];
  const rms = (depth) => size(rmsAt(state, depth, column));
  if (kind === "text") return `id ${token.id}`;
  if (kind === "embedding") return `embedding: RMS ${rms(0)}`;
  if (kind === "output") return `likeliest next ${token.next.text}, ${token.next.percent}`;
  if (kind === "norm") return `final norm, of an RMS of ${rms(2 * state.nLayers)}`;
  const ratio = size(ratioAt(state, kind, layerOf(row), column));
  const reads = kind === "attention" ? namesRead(state, layerOf(row), column) : "";
  return `${rowName(state, row)}: an update of ${ratio} times the stream, RMS ${rms(row - 1)} after it${reads}`;
}

function namesRead(state, layer, column) {
  const names = readsOf(state, layer, column).map(({ position, weight }) => {
    const name = position === positionAt(state, column) ? "itself" : `token ${position} ${state.labels[position]}`;
    return `${name} ${percent(weight)}`;
  });
  return names.length ? `; reads most from ${names.join(", ")}` : "";
}

function shownOf(state) {
  const [first, last, all] = [positionAt(state, 0), positionAt(state, state.n - 1), state.lastToken + 1];
  if (state.n === all) return "";
  const which = first === last ? `Token ${first}` : `Tokens ${first} to ${last}`;
  const curves = first > 0 ? " A curve from the left edge comes from a token before them." : "";
  return `${which} of ${all.toLocaleString("en")} drawn; select a token to see those around it.${curves}`;
}

// As words.size writes numbers, and words.percent those that are not small.
function size(number) {
  if (!Number.isFinite(number)) return Number.isNaN(number) ? "not a number" : "infinite";
  if (number >= 1e6 || (number > 0 && number < 1e-3)) return number.toExponential(1).replace(/([+-])(\d)$/, "$10$2");
  return number >= 100 ? Math.round(number).toLocaleString("en") : String(Number(number.toPrecision(3)));
}

const percent = (share) => `${(100 * share).toFixed(1)}%`;
