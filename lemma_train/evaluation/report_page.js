"use strict";
// Shows the samples that fit the chosen filters. The choice stands in the address, so that it can be passed on.
(() => {
  const bar = document.getElementById("filters");
  if (!bar) return;
  const cards = [...document.querySelectorAll("article[data-outcome]")];
  const fields = [...bar.querySelectorAll("select")];
  const apply = () => {
    let count = 0;
    for (const card of cards) {
      card.hidden = !fields.every((field) => !field.value || card.dataset[field.name] === field.value);
      if (!card.hidden) count += 1;
    }
    document.getElementById("shown").textContent = `${count} of ${cards.length} shown`;
  };
  const fromAddress = () => {
    const wanted = new URLSearchParams(location.hash.slice(1));
    // An address that names no field is one of a section, and leaves the choice as it is.
    const chosen = fields.some((field) => wanted.has(field.name));
    for (const field of chosen ? fields : []) {
      field.value = wanted.get(field.name) ?? "";
      if (field.selectedIndex < 0) field.value = "";
    }
    apply();
  };
  bar.addEventListener("change", () => {
    const chosen = fields.filter((field) => field.value).map((field) => [field.name, field.value]);
    history.replaceState(null, "", `#${new URLSearchParams(chosen)}`);
    apply();
  });
  document.getElementById("open").addEventListener("click", (event) => {
    const open = event.target.getAttribute("aria-pressed") !== "true";
    event.target.setAttribute("aria-pressed", open);
    event.target.textContent = open ? "Close all" : "Open all";
    for (const card of cards) card.firstElementChild.open = open;
  });
  window.addEventListener("hashchange", fromAddress);
  bar.hidden = false;
  fromAddress();
})();
