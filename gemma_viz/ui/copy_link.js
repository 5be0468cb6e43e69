// Copies the page's address. The clipboard needs https or localhost, and the person's leave; where it is refused the
// address stands in a field, to be copied by hand.

const QUIET_MS = 300; // a change that was just made takes a moment to reach the address
const LONGEST_WAIT_MS = 2000; // browsers let a page write into the clipboard for some seconds after a click only
const SAID_MS = 4000;

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".copy");
  root.data = data;
  if (root.listening) return;
  root.listening = true;
  root.querySelector("button").addEventListener("click", () => copy(root));
}

async function copy(root) {
  say(root, "…");
  await settled();
  const link = address(root.data);
  const copied = (await byClipboard(link)) || byCommand(root, link);
  root.querySelector("input").hidden = copied;
  const missing = root.data.missing ? `, without the ${root.data.missing}: too long for a link` : "";
  if (copied) say(root, `Copied${missing}`, SAID_MS);
  else {
    say(root, `This browser does not let the page copy. Copy the link from here${missing}:`);
    show(root, link).select();
  }
}

async function settled() {
  const end = performance.now() + LONGEST_WAIT_MS;
  let before;
  do {
    before = location.href;
    await new Promise((done) => setTimeout(done, QUIET_MS));
  } while ((location.href !== before || running()) && performance.now() < end);
}

function running() {
  return document.querySelector("[data-testid=stApp]")?.dataset.testScriptState === "running";
}

function address({ model, left_out: leftOut }) {
  const link = new URL(location.href);
  link.hash = "";
  for (const name of leftOut) link.searchParams.delete(name);
  if (model && !link.searchParams.has("model")) link.searchParams.append("model", model);
  return link.href;
}

async function byClipboard(link) {
  try {
    await navigator.clipboard.writeText(link);
    return true;
  } catch {
    return false; // there is none without https, or it is not allowed
  }
}

function byCommand(root, link) {
  show(root, link).select();
  const copied = document.execCommand("copy");
  root.querySelector("button").focus();
  return copied;
}

function show(root, link) {
  const field = root.querySelector("input");
  field.hidden = false;
  field.value = link;
  return field;
}

function say(root, text, ms) {
  const said = root.querySelector(".said");
  said.textContent = text;
  clearTimeout(root.timer);
  if (ms) root.timer = setTimeout(() => (said.textContent = ""), ms);
}
