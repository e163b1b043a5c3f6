// The sidebar's arrows have no text: a screen reader is told which pages they show.
document.addEventListener("DOMContentLoaded", () => {
  for (const summary of document.querySelectorAll(".bd-sidebar-primary details > summary")) {
    const page = summary.closest("li").querySelector("a");
    summary.setAttribute("aria-label", `Pages under ${page.textContent.trim()}`);
  }
});

// The bibliography claims to be a list, but its entries are not list items.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".citation-list").forEach((list) => list.removeAttribute("role"));
});
