// The tree of generated texts as a listbox; listbox.js stands before this.

export default function ({ data, parentElement, setTriggerValue }) {
  const tree = parentElement.querySelector(".tree");
  tree.send = (index) => setTriggerValue("picked", index);
  const rows = JSON.stringify(data.rows);
  if (tree.drawn !== rows) {
    tree.drawn = rows;
    tree.replaceChildren(...data.rows.map(row));
  }
  listenToOptions(tree, ".chip", (option) => choose(tree, option));
  markChosen(tree, tree.querySelector(`[data-index="${data.chosen}"]`), tree.querySelector(".chip"));
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

function choose(tree, option) {
  markChosen(tree, option);
  tree.send(Number(option.dataset.index));
}
