// The tokens of the prompt as a listbox: one tab stop, arrow keys, Home and End move and choose. touch.js and room.js
// stand before this.
// Token texts come from visitors: they are only ever set as textContent.

const DEBOUNCE_MS = 150; // holding an arrow key asks the server for the last token only
const PATIENCE_MS = 1500; // how long the person's choice outranks what an older run of the page says

export default function ({ data, parentElement, setTriggerValue }) {
  const strip = parentElement.querySelector(".strip");
  strip.send = (position) => setTriggerValue("picked", position);
  const tokens = JSON.stringify(data.tokens);
  if (strip.drawn !== tokens) {
    strip.drawn = tokens;
    strip.replaceChildren(...data.tokens.map(chip));
    strip.choice = null;
    giveBackRoom(parentElement);
  }
  listen(strip);
  const own = strip.choice;
  if (own && own.position !== data.selected && performance.now() < own.until) return;
  strip.choice = null;
  select(strip, data.selected);
}

function chip(token, position) {
  const option = document.createElement("div");
  option.className = token.special ? "chip special" : "chip";
  option.style.setProperty("--colour", token.colour);
  option.dataset.position = position;
  option.tabIndex = -1;
  option.title = `token ${position}, id ${token.id}${token.near}`;
  option.setAttribute("role", "option");
  option.setAttribute("aria-selected", "false");
  option.setAttribute("aria-label", `token ${position}: ${token.text}, id ${token.id}`);
  option.append(part("place", position), part("text", token.text));
  return option;
}

function part(name, text) {
  const span = document.createElement("span");
  span.className = name;
  span.textContent = text;
  return span;
}

function listen(strip) {
  if (strip.listening) return;
  strip.listening = true;
  strip.addEventListener("click", (event) => {
    const option = event.target.closest(".chip");
    if (option && !firstTap(strip, event, option)) choose(strip, Number(option.dataset.position), 0);
  });
  strip.addEventListener("keydown", (event) => {
    const here = Number(strip.querySelector("[aria-selected=true]")?.dataset.position ?? 0);
    const last = strip.querySelectorAll(".chip").length - 1;
    const target = { ArrowRight: here + 1, ArrowDown: here + 1, ArrowLeft: here - 1, ArrowUp: here - 1, Home: 0, End: last };
    if (!(event.key in target)) return;
    event.preventDefault();
    choose(strip, Math.min(Math.max(target[event.key], 0), last), DEBOUNCE_MS);
  });
}

function choose(strip, position, delay) {
  strip.choice = { position, until: performance.now() + delay + PATIENCE_MS };
  select(strip, position);
  strip.children[position].focus({ preventScroll: true });
  clearTimeout(strip.timer);
  strip.timer = setTimeout(() => strip.send(position), delay);
}

function select(strip, position) {
  const before = strip.querySelector("[aria-selected=true]");
  const after = strip.children[position];
  if (before && before !== after) {
    before.setAttribute("aria-selected", "false");
    before.tabIndex = -1;
  }
  if (!after) return;
  after.setAttribute("aria-selected", "true");
  after.tabIndex = 0;
  reveal(strip, after);
}

// Scrolls inside the strip only; scrollIntoView would move the page too.
function reveal(strip, option) {
  const top = option.offsetTop - strip.offsetTop;
  const bottom = top + option.offsetHeight;
  if (top < strip.scrollTop) strip.scrollTop = top - 4;
  else if (bottom > strip.scrollTop + strip.clientHeight) strip.scrollTop = bottom - strip.clientHeight + 4;
}
