// What the console's pages do when JavaScript runs. Every page works without this file.
// htmx is told how to behave by the page, before this file matters:
//   <meta name="htmx-config" content='{"allowEval":false,"includeIndicatorStyles":false,
//     "historyCacheSize":0,"selfRequestsOnly":true}'>
(() => {
  "use strict";

  // .needs-js is shown from now on.
  document.documentElement.classList.add("js");

  const submitButtons = (form) =>
    [...form.elements].filter((field) => field.type === "submit" && !field.disabled);

  // A double click must not send a form twice. The browser reads the form after this event, with the name of the
  // button that was pressed, so its buttons are disabled a moment later. A download leaves its page as it is, so
  // its form says data-many.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.hasAttribute("data-many")) return;

    if (form.hasAttribute("data-sent")) {
      event.preventDefault();
      return;
    }

    form.setAttribute("data-sent", "");
    setTimeout(() => {
      for (const button of submitButtons(form)) {
        button.disabled = true;
        button.setAttribute("data-disabled", "");
      }
    });
  });

  // Back shows a page as it was left: its buttons must work again.
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) form.removeAttribute("data-sent");
    for (const button of document.querySelectorAll("[data-disabled]")) {
      button.disabled = false;
      button.removeAttribute("data-disabled");
    }
  });

  // <button type="button" class="needs-js" data-print>
  const print = (button) => {
    if (button) window.print();
  };

  // <button type="button" class="needs-js" data-pause="id of the region" aria-pressed="false">: the button keeps its
  // words, and aria-pressed says whether the region is paused.
  const pause = (button) => {
    if (!button) return;

    const paused = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(paused));
    document.getElementById(button.dataset.pause)?.toggleAttribute("data-paused", paused);
  };

  document.addEventListener("click", (event) => {
    print(event.target.closest("[data-print]"));
    pause(event.target.closest("[data-pause]"));
  });

  // A paused region asks for nothing: its hx-trigger="every 5s" is silent.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.elt.closest("[data-paused]")) event.preventDefault();
  });

  // After a refused form, the summary of errors is read first.
  document.querySelector(".govuk-error-summary[tabindex]")?.focus();
})();
