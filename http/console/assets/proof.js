// What /console/proof does when JavaScript runs: it checks a proof in the browser, by the same program as the server
// does without JavaScript. The file is read here and sent nowhere. The page says what it may say in <template>.
(() => {
  "use strict";

  const form = document.querySelector("form[data-wasm]");
  if (!form || typeof WebAssembly !== "object") return;

  const state = (name) => {
    for (const part of form.querySelectorAll("[data-state]")) part.hidden = part.dataset.state !== name;
  };
  state("ready");

  // The verifier is loaded when a file was chosen, and at most once.
  let loading;
  const load = () => {
    loading ??= (async () => {
      await new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = form.dataset.exec;
        script.onload = resolve;
        script.onerror = reject;
        document.head.append(script);
      });
      const go = new Go();
      const { instance } = await WebAssembly.instantiateStreaming(fetch(form.dataset.wasm), go.importObject);
      go.run(instance); // it waits to be asked
    })();
    return loading;
  };

  // A byte more than is read makes the verifier say that the file is too large. A byte order mark is kept: it is part
  // of the file.
  const read = async (file, limit) =>
    new TextDecoder("utf-8", { ignoreBOM: true }).decode(await file.slice(0, Number(limit) + 1).arrayBuffer());

  // Whoever made the file wrote parts of the text: what could make it read otherwise is replaced, as the server does.
  const printable = (text) => text.replace(/[^\p{L}\p{M}\p{N}\p{P}\p{S} \n]/gu, "\ufffd");

  const kindOf = (report) => {
    if (report.proven) return "proven";
    if (report.own_rules) return "own_rules";
    return report.unreadable ? "unreadable" : "refused";
  };

  const fill = (part, text, lang) => {
    part.textContent = printable(text);
    if (lang) part.lang = lang;
  };

  const show = (report) => {
    const found = document.querySelector("template#verdict-parts").content.cloneNode(true);
    for (const part of found.querySelectorAll("[data-kind]")) {
      if (part.dataset.kind !== kindOf(report)) part.remove();
    }

    const said = {
      reason: report.reason, decision: report.decision, wording: report.receipt?.wording,
      holds: report.holds, does_not: report.does_not,
    };
    for (const part of found.querySelectorAll("[data-say]")) {
      const what = said[part.dataset.say];
      if (!what?.length) {
        part.closest("[data-part]")?.remove();
      } else if (Array.isArray(what)) {
        part.replaceChildren(...what.map((sentence) => {
          const item = document.createElement("li");
          fill(item, sentence);
          return item;
        }));
      } else {
        fill(part, what, part.dataset.say === "wording" ? report.receipt.language : "");
      }
    }

    const place = document.getElementById("verdict");
    place.replaceChildren(found);
    place.focus();
  };

  for (const field of form.querySelectorAll("input[type=file]")) {
    field.addEventListener("change", () => {
      document.getElementById("verdict").replaceChildren();
      load().catch(() => { loading = undefined; });
    });
  }

  // Without a file the form goes to the server, which says what is missing.
  form.addEventListener("submit", async (event) => {
    const [bundle, policy] = ["bundle", "policy"].map((name) => form.elements[name].files[0]);
    if (!bundle) return;
    event.preventDefault();

    state("checking");
    try {
      await load();
      const rules = policy ? (await read(policy, form.dataset.maxPolicy)) || "\n" : "";
      show(JSON.parse(salgaTrustCheck(await read(bundle, form.dataset.maxBundle), rules)));
      state("ready");
    } catch {
      loading = undefined;
      state("failed");
    }
  });
})();
