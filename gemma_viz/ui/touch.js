// On a touch screen nothing hovers: a first tap shows what a part would say to a mouse, and a second one on it acts.
// It stands in front of a component's own script.

let pointer = "mouse"; // of the last press; not every browser's click says it
addEventListener("pointerdown", ({ pointerType }) => (pointer = pointerType), true);

// Whether a click on a part of a component is a first tap, which then has been answered. Keys have no first tap.
function firstTap(root, event, part) {
  const first = Boolean(event?.detail) && pointer === "touch" && root.tapped !== part;
  root.tapped = first ? part : null;
  if (first) showTip(root, part);
  return first;
}

// The title beside its part, in no room of its own, until the next press or until something scrolls.
function showTip(root, part) {
  const tip = document.createElement("span");
  tip.className = "tip";
  tip.setAttribute("aria-hidden", "true"); // it is the part's label too
  tip.textContent = `${part.title}. Tap again to ${part.tagName === "A" ? "open" : "choose"}.`;
  root.append(tip);
  const { left, bottom, top } = part.getBoundingClientRect();
  const below = bottom + 6 + tip.offsetHeight < innerHeight;
  tip.style.left = `${Math.max(8, Math.min(left, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${below ? bottom + 6 : top - 6 - tip.offsetHeight}px`;
  const gone = new AbortController();
  const leave = () => {
    tip.remove();
    gone.abort();
  };
  for (const begins of ["pointerdown", "scroll", "keydown"])
    addEventListener(begins, leave, { capture: true, signal: gone.signal });
}
