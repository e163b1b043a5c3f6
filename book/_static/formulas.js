// Formulas are drawn when they come near to what is shown, and the others one by one when the
// browser has nothing else to do: a page of a hundred formulas is ready as soon as one of three.
document.addEventListener("DOMContentLoaded", async () => {
  const NEAR = "50% 0px"; // half a window above and below
  const REST = 3000; // milliseconds before the far ones begin
  const whenIdle = window.requestIdleCallback ?? ((task) => setTimeout(task, 50));

  await window.MathJax?.startup?.promise;
  if (!window.MathJax?.typesetPromise) return;
  const waiting = new Set(document.querySelectorAll(".math"));

  function draw(formulas) {
    for (const formula of formulas) {
      waiting.delete(formula);
      observer.unobserve(formula);
    }
    MathJax.startup.promise = MathJax.startup.promise.then(() => MathJax.typesetPromise(formulas));
    return MathJax.startup.promise;
  }

  const observer = new IntersectionObserver((entries) => {
    const near = entries.filter((e) => e.isIntersecting && waiting.has(e.target));
    if (near.length) draw(near.map((e) => e.target));
  }, { rootMargin: NEAR });
  waiting.forEach((formula) => observer.observe(formula));

  function drawNext() {
    const [next] = waiting;
    if (next) draw([next]).then(() => whenIdle(drawNext));
  }
  setTimeout(() => whenIdle(drawNext), REST);
  addEventListener("beforeprint", () => draw([...waiting]));
});
