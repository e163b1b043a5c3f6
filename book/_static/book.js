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

// What is wider than the page scrolls in itself: it is marked where more of it is to come.
const SCROLLS = "div.math > mjx-container, div.highlight pre, .cell_output pre, span.math, " +
  ".pst-scrollable-table-container";

function markEdges(box) {
  // The text of a formula that is for screen readers alone may be wider than what is drawn.
  const formula = box.querySelector(":scope > mjx-math, :scope > mjx-container > mjx-math");
  const width = formula?.getBoundingClientRect().width ?? box.scrollWidth;
  const hidden = Math.min(width, box.scrollWidth) - box.clientWidth;
  box.classList.toggle("more-before", box.scrollLeft > 1);
  box.classList.toggle("more-after", hidden - box.scrollLeft > 1);
  if (hidden > 1) box.tabIndex = 0;
}

document.addEventListener("DOMContentLoaded", () => {
  const sizes = new ResizeObserver((entries) => {
    const boxes = entries.map((entry) => entry.target.closest(SCROLLS));
    new Set(boxes).forEach((box) => box && markEdges(box));
  });
  const watch = (box) => [box, box.firstElementChild].forEach((e) => e && sizes.observe(e));
  document.querySelectorAll(SCROLLS).forEach(watch);
  new MutationObserver((changes) => {  // formulas are drawn later than the page
    const added = changes.flatMap((change) => [...change.addedNodes]);
    added.filter((node) => node.matches?.(SCROLLS)).forEach(watch);
    added.filter((node) => node.matches?.("span.math > *")).forEach((e) => watch(e.parentElement));
  }).observe(document.body, { childList: true, subtree: true });
  document.addEventListener("scroll", ({ target }) => {
    if (target.matches?.(SCROLLS)) markEdges(target);
  }, { capture: true, passive: true });
});
