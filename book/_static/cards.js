// A reference to an equation shows the equation, one to a term its definition: in a card beside
// the link, while it is pointed at or has the keyboard's focus, or when it is tapped. The second
// tap follows the link. What the cards show is loaded when the first of them is asked for.
(() => {
  const REFERENCE = 'main a.reference[href*="#equation-"], main a.reference[href*="#term-"]';
  const MARGIN = 8; // pixels between the card and the window's edge or the link
  const LINGER = 250; // milliseconds in which the pointer may move from the link to its card
  let texts, card, current, timer, wasShown;

  const referenceAt = (target) => target instanceof Element && target.closest(REFERENCE);

  function loadTexts() {
    texts ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `${document.documentElement.dataset.content_root}_static/card_texts.js`;
      script.onload = () => resolve(window.cardTexts);
      script.onerror = reject;
      document.head.append(script);
    });
    return texts;
  }

  function makeCard() {
    card = document.createElement("div");
    card.id = "reference-card";
    card.setAttribute("role", "tooltip");
    card.addEventListener("pointerenter", () => clearTimeout(timer));
    card.addEventListener("pointerleave", hideSoon);
    document.body.append(card);
  }

  async function drawn(tex) {
    await MathJax.startup.promise;
    const formula = await MathJax.tex2chtmlPromise(tex, { display: true });
    MathJax.startup.document.clear();
    MathJax.startup.document.updateDocument();
    return formula;
  }

  // A formula that is wider than the card is shown smaller.
  function fit(formula) {
    const room = formula.parentElement.clientWidth;
    const width = formula.firstElementChild.getBoundingClientRect().width;
    if (width > room + 1) formula.style.fontSize = `${Math.floor((100 * room) / width)}%`;
  }

  function place(link) {
    const [first] = link.getClientRects();
    const { width, height } = card.getBoundingClientRect();
    const right = document.documentElement.clientWidth - width - MARGIN;
    const below = first.bottom + MARGIN;
    const above = first.top - MARGIN - height;
    card.style.left = `${Math.max(MARGIN, Math.min(first.left, right))}px`;
    card.style.top = `${below + height > innerHeight && above > 0 ? above : below}px`;
  }

  async function show(link) {
    clearTimeout(timer);
    if (current === link) return;
    hide();
    current = link;
    const { title, text, tex } = (await loadTexts())[link.hash.slice(1)] ?? {};
    const content = tex ? await drawn(tex) : text;
    if (!content || current !== link) return; // the pointer has left in the meantime
    if (!card) makeCard();
    const heading = document.createElement("strong");
    heading.textContent = title;
    const body = document.createElement("div");
    body.append(content);
    card.replaceChildren(heading, body);
    card.style.left = card.style.top = `${MARGIN}px`; // as wide as it may become
    card.classList.add("shown");
    if (tex) fit(content);
    place(link);
    link.setAttribute("aria-describedby", card.id);
  }

  function hide() {
    clearTimeout(timer);
    card?.classList.remove("shown");
    current?.removeAttribute("aria-describedby");
    current = null;
  }

  function hideSoon() {
    clearTimeout(timer);
    timer = setTimeout(hide, LINGER);
  }

  document.addEventListener("pointerover", (event) => {
    const link = referenceAt(event.target);
    if (link && event.pointerType !== "touch") show(link);
  });
  document.addEventListener("pointerout", (event) => {
    if (referenceAt(event.target) && event.pointerType !== "touch") hideSoon();
  });
  document.addEventListener("focusin", (event) => {
    const link = referenceAt(event.target);
    if (link && link.matches(":focus-visible")) show(link);
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("pointerdown", (event) => {
    const link = referenceAt(event.target);
    wasShown = link && link === current;
    if (!link && !event.target.closest("#reference-card")) hide();
  });
  document.addEventListener("click", (event) => {
    const link = referenceAt(event.target);
    if (link && event.pointerType === "touch" && !wasShown) {
      event.preventDefault();
      show(link);
    } else if (link) {
      hide();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
  });
  addEventListener("scroll", () => {
    if (card?.classList.contains("shown")) place(current);
  }, { passive: true });
})();
