// The tree of generated texts as a listbox: one tab stop, arrow keys move, Enter and Space choose, as a click does.
// Texts come from visitors and the model: they are only ever set as textContent.

export default function ({ data, parentElement, setTriggerValue }) {
  const tree = parentElement.querySelector(".tree");
  tree.send = (index) => setTriggerValue("picked", index);
  const rows = JSON.stringify(data.rows);
  if (tree.drawn !== rows) {
    tree.drawn = rows;
    tree.replaceChildren(...data.rows.map(row));
  }
  listen(tree);
  mark(tree, data.chosen);
}

function row({ after, chips }) {
  const line = document.createElement("div");
  line.className = "row";
  line.setAttribute("role", "presentation");
  if (after) line.append(part("after", after));
  line.append(...chips.map(chip));
  return line;
}

function chip({ index, label, probability, strength }) {
  const option = document.createElement("div");
  option.className = probability ? "chip" : "chip beginning";
  option.style.setProperty("--strength", `${Math.round(15 + 60 * strength)}%`);
  option.dataset.index = index;
  option.tabIndex = -1;
  option.setAttribute("role", "option");
  option.setAttribute("aria-selected", "false");
  option.setAttribute("aria-label", probability ? `${label}, ${probability}` : label);
  option.append(part("text", label));
  if (probability) option.append(part("probability", probability));
  return option;
}

function part(name, text) {
  const span = document.createElement("span");
  span.className = name;
  span.textContent = text;
  return span;
}

function listen(tree) {
  if (tree.listening) return;
  tree.listening = true;
  tree.addEventListener("click", (event) => {
    const option = event.target.closest(".chip");
    if (option) choose(tree, option);
  });
  tree.addEventListener("keydown", (event) => {
    const option = event.target.closest(".chip");
    if (!option) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      return choose(tree, option);
    }
    const options = [...tree.querySelectorAll(".chip")];
    const here = options.indexOf(option);
    const moves = { ArrowRight: here + 1, ArrowDown: here + 1, ArrowLeft: here - 1, ArrowUp: here - 1 };
    const target = { ...moves, Home: 0, End: options.length - 1 }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    const next = options[Math.min(Math.max(target, 0), options.length - 1)];
    makeTabStop(tree, next);
    next.focus();
  });
}

function choose(tree, option) {
  mark(tree, Number(option.dataset.index));
  tree.send(Number(option.dataset.index));
}

function mark(tree, index) {
  tree.querySelector("[aria-selected=true]")?.setAttribute("aria-selected", "false");
  const option = index === null ? null : tree.querySelector(`[data-index="${index}"]`);
  option?.setAttribute("aria-selected", "true");
  makeTabStop(tree, option ?? tree.querySelector(".chip"));
}

function makeTabStop(tree, option) {
  const before = tree.querySelector("[tabindex='0']");
  if (before) before.tabIndex = -1;
  if (option) option.tabIndex = 0;
}
