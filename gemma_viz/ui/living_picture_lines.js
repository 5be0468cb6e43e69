// The streams and their updates, drawn behind the cells of the living picture; living_picture.js stands before this.

function draw(root, board, state) {
  const first = board.querySelector('[data-row="1"][data-column="0"]');
  state.left = first.offsetLeft;
  state.width = first.offsetWidth;
  state.scale = scaleOf(state);
  const svg = root.querySelector("svg");
  board.style.setProperty("--drawn", `${board.clientWidth}px`);
  const columns = Array.from({ length: state.n }, (_, column) => column);
  svg.querySelector(".stems").replaceChildren(...columns.map((column) => stem(state, column)));
  svg.querySelector(".updates").replaceChildren(...columns.flatMap((column) => updates(state, column)));
  legend(root, state);
}

const middleOf = (state, column) => state.left + (column + 0.5) * state.width;
const thickest = (state) => Math.min(STEM.thick, state.width * 0.26);
const roomOf = (state) => Math.min(state.width, 300) / 2 - thickest(state) / 2 - 2;

// From the RMS of a stream to the width of its line, in equal steps for equal factors.
function scaleOf(state) {
  const decades = Math.log(state.largest / state.smallest) || 1;
  return (rms) => {
    if (!(rms > 0 && rms < Infinity)) return STEM.thin;
    return STEM.thin + (Math.log(rms / state.smallest) / decades) * (thickest(state) - STEM.thin);
  };
}

function stem(state, column) {
  const x = middleOf(state, column);
  const last = lastRow(state);
  const edges = [[topOf(state, 1) - 4, STEM.thin], [topOf(state, 2), state.scale(rmsAt(state, 0, column))]];
  for (let row = 2; row < last - 1; row++)
    edges.push([topOf(state, row + 1) - 2, state.scale(rmsAt(state, row - 1, column))]);
  edges.push([topOf(state, last), STEM.thin * 2], [topOf(state, last) + 3, STEM.thin * 2]);
  const side = (sign, points) => points.map(([y, width]) => `${x + (sign * width) / 2},${y}`);
  const shape = svgPart("polygon", { points: [...side(-1, edges), ...side(1, edges.reverse())].join(" ") });
  shape.style.setProperty("--colour", state.tokens[state.from + column].colour);
  shape.classList.toggle("selected", positionAt(state, column) === state.selected);
  return shape;
}

// Attention comes from the left, where the tokens are that it reads; the MLP from the right.
function updates(state, column) {
  const bars = [];
  for (let row = 2; row <= lastRow(state) - 2; row++) {
    const kind = kindOf(state, row);
    const length = lengthOf(ratioAt(state, kind, layerOf(row), column)) * roomOf(state);
    if (length < 0.2) continue;
    const edge = state.scale(rmsAt(state, row - 1, column)) / 2;
    const x = middleOf(state, column) + (kind === "attention" ? -edge - length : edge);
    const height = heightOf(state, row);
    const bar = svgPart("rect", { x, y: topOf(state, row) + 2, width: length, height: height - 4, rx: 2 });
    bar.dataset.row = row;
    bar.style.fill = state.colours[kind];
    bar.classList.toggle("selected", positionAt(state, column) === state.selected);
    bars.push(bar);
  }
  return bars;
}

// Where a token's attention in a layer takes from: lines from the streams that it reads, as wide as their weight. Those
// of tokens that are not shown come from the edge.
function reads(state, layer, column) {
  const row = 2 + 2 * layer;
  const y = topOf(state, row) + heightOf(state, row) / 2;
  const tip = (lengthOf(ratioAt(state, "attention", layer, column)) * roomOf(state)) / 2;
  const others = readsOf(state, layer, column).filter(({ position }) => position !== positionAt(state, column));
  return others.map(({ position, weight }, rank) => {
    const source = position - positionAt(state, 0);
    const from = source < 0 ? state.left - 4 : middleOf(state, Math.min(source, state.n - 0.5));
    const to = middleOf(state, column) + (source < column ? -tip : tip);
    const above = y - 22 - 6 * rank;
    const line = svgPart("path", { d: `M${from},${y - 4} C${from},${above} ${to},${above} ${to},${y}` });
    line.style.stroke = state.colours.attention;
    line.style.strokeWidth = thicknessOf(weight);
    return line;
  });
}

const thicknessOf = (weight) => 1.5 + 5 * weight;

function svgPart(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  return element;
}

function legend(root, state) {
  const entry = (name, kind, samples) => {
    const entry = part("entry", name);
    for (const [width, height, text] of samples) {
      const sample = part("sample", "");
      Object.assign(sample.style, { width: `${width}px`, height: `${height}px` });
      sample.style.background = state.colours[kind];
      entry.append(sample, part("", text));
    }
    return entry;
  };
  const bars = [0.1, 1, 10].map((ratio) => [lengthOf(ratio) * roomOf(state), 9, `${ratio}×`]);
  const sizes = [state.smallest, state.largest].filter(Number.isFinite);
  const lines = sizes.map((rms) => [state.scale(rms), 14, size(rms)]);
  const curves = [0.1, 0.9].map((weight) => [20, thicknessOf(weight), `${100 * weight}%`]);
  root.querySelector(".legend").replaceChildren(
    entry("Line: RMS of the stream (log scale)", "line", lines),
    entry("Left: attention’s update ÷ stream", "attention", bars),
    entry("Right: the MLP’s update ÷ stream", "mlp", bars),
    entry("Curve: weight on a token that attention reads", "attention", curves),
  );
}
