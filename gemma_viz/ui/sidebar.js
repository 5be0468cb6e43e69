// On a phone the sidebar lies over the page: a link or a button in it closes it, so that what comes of it is seen.

const COVERS = "(max-width: 768px)"; // Streamlit's own width for it
const CHOICES = "[data-testid=stPageLink] a, [data-testid=stButton] button";

export default function ({ parentElement }) {
  const sidebar = parentElement.host.closest("[data-testid=stSidebar]");
  if (sidebar.closesWhenChosen) return;
  sidebar.closesWhenChosen = true;
  sidebar.addEventListener("click", ({ target }) => {
    if (!matchMedia(COVERS).matches || !target.closest(CHOICES)) return;
    setTimeout(() => sidebar.querySelector("[aria-controls=stSidebar]").click()); // the choice itself comes first
  });
}
