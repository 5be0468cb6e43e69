// What listboxes of many small options share; it stands in front of a component's own script.
// One tab stop, arrow keys move the focus, Enter and Space choose, as a click does.

function part(name, text) {
  const span = document.createElement("span");
  span.className = name;
  span.textContent = text; // never markup: texts come from visitors and the model
  return span;
}

// rowLength: how many options an arrow up or down passes
function listenToOptions(list, selector, choose, rowLength = () => 1) {
  if (list.listening) return;
  list.listening = true;
  list.addEventListener("click", (event) => {
    const option = event.target.closest(selector);
    if (option) choose(option, event);
  });
  list.addEventListener("keydown", (event) => {
    const option = event.target.closest(selector);
    if (!option) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      return choose(option);
    }
    const options = [...list.querySelectorAll(selector)];
    const here = options.indexOf(option);
    const down = rowLength(options);
    const moves = { ArrowRight: here + 1, ArrowLeft: here - 1, ArrowDown: here + down, ArrowUp: here - down };
    const target = { ...moves, Home: 0, End: options.length - 1 }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    const next = options[Math.min(Math.max(target, 0), options.length - 1)];
    makeTabStop(list, next);
    next.focus();
  });
}

function markChosen(list, option, fallback) {
  list.querySelector("[aria-selected=true]")?.setAttribute("aria-selected", "false");
  option?.setAttribute("aria-selected", "true");
  makeTabStop(list, option ?? fallback);
}

function makeTabStop(list, option) {
  const before = list.querySelector("[tabindex='0']");
  if (before) before.tabIndex = -1;
  if (option) option.tabIndex = 0;
}
