// What the scripts of others leave out. Loaded on every page before theirs.

(() => {
  "use strict";
  const root = document.documentElement.dataset.content_root || "./";

  // require.js takes this for its configuration: the icon fonts of the widgets lie beside their script.
  window.require = {
    paths: { "@jupyter-widgets/html-manager/dist": `${root}_static/vendor/html-manager/dist` },
  };

  // A formula inside a line cannot be broken. One that is longer than its line gets a scroll bar of its own.
  function markWideFormulas() {
    for (const formula of document.querySelectorAll("mjx-container:not([display])")) {
      formula.classList.remove("wide");
      const line = formula.closest("p, li, dd, td, th, figcaption");
      formula.classList.toggle("wide", line !== null && formula.offsetWidth > line.clientWidth);
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    const typeset = window.MathJax && window.MathJax.startup && window.MathJax.startup.promise;
    if (!typeset) {
      return;
    }
    typeset.then(markWideFormulas);
    window.addEventListener("resize", markWideFormulas);
    // Widgets ask for their mathematics in the words of MathJax 2.
    window.MathJax.Hub = {
      Queue: ([, , element]) => typeset.then(() => window.MathJax.typesetPromise([element])),
    };
  });

  // Paper is white, whatever the screen is.
  let screenTheme = null;
  window.addEventListener("beforeprint", () => {
    screenTheme = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = "light";
  });
  window.addEventListener("afterprint", () => {
    document.documentElement.dataset.theme = screenTheme;
  });

  // The handle of a slider says what it moves and where it is, as it stands beside it for those who see.
  function nameSlider(widget) {
    const label = widget.querySelector(".widget-label");
    const readout = widget.querySelector(".widget-readout");
    for (const handle of widget.querySelectorAll("[role=slider]")) {
      const texts = { "aria-label": label, "aria-valuetext": readout };
      for (const [name, element] of Object.entries(texts)) {
        const text = element ? element.textContent.trim() : "";
        if (text && handle.getAttribute(name) !== text) {
          handle.setAttribute(name, text);
        }
      }
    }
  }

  window.addEventListener("load", () => {
    const nameAll = () => document.querySelectorAll(".widget-slider").forEach(nameSlider);
    nameAll();
    for (const output of document.querySelectorAll(".cell_output")) {
      new MutationObserver(nameAll).observe(output, {
        subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ["aria-valuetext"],
      });
    }
  });
})();
