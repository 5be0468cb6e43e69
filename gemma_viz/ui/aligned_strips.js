// The tokens of two runs under each other, in columns that wrap together. There is nothing to choose. room.js
// stands before this.
// Token texts come from visitors: they are only ever set as textContent.

export default function ({ data, parentElement }) {
  const aligned = parentElement.querySelector(".aligned");
  const drawn = JSON.stringify(data);
  if (aligned.drawn === drawn) return;
  aligned.drawn = drawn;
  aligned.style.setProperty("--selected", data.selectedColour);
  giveBackRoom(parentElement);
  aligned.replaceChildren(...data.columns.map((column, i) => drawColumn(column, i === data.selected, data.colours)));
}

function drawColumn(column, selected, colours) {
  const item = document.createElement("div");
  item.className = ["column", column.same ? "" : "different", selected ? "selected" : ""].join(" ");
  item.setAttribute("role", "listitem");
  item.setAttribute("aria-label", column.said);
  item.title = column.said;
  item.append(drawCell(column.left, colours[0]), drawCell(column.right, colours[1]));
  return item;
}

function drawCell(tokens, colour) {
  const cell = document.createElement("div");
  cell.className = "cell";
  cell.setAttribute("aria-hidden", "true"); // the column says it
  cell.style.setProperty("--colour", colour);
  if (tokens.length) cell.append(...tokens.map(drawToken));
  else cell.append(part("none", "–"));
  return cell;
}

function drawToken([position, text]) {
  const token = part("token", "");
  token.append(part("place", position), part("text", text));
  return token;
}

function part(name, text) {
  const span = document.createElement("span");
  span.className = name;
  span.textContent = text;
  return span;
}
