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

  // A slider over the steps of a process goes through them once, when it comes into sight, and ends where it began.
  // Not for a reader who wants no motion, and no longer once somebody has touched it.
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");

  function play(widget) {
    const track = widget.querySelector(".noUi-target");
    if (still.matches || !track || !track.noUiSlider) {
      return;
    }
    const slider = track.noUiSlider;
    const home = Number(slider.get());
    const { min, max } = slider.options.range;
    let step = min;
    const timer = setInterval(() => {
      slider.set(step > max ? home : step);
      step += 1;
      if (step > max + 1) {
        clearInterval(timer);
      }
    }, 600);
    widget.addEventListener("touched", () => clearInterval(timer), { once: true });
  }

  const inSight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) {
        inSight.unobserve(target);
        play(target.closest(".plays"));
      }
    }
  });

  const awaited = new WeakSet();
  function awaitSight(widget) {
    const picture = [...widget.querySelectorAll("img")].find((image) => image.offsetParent !== null);
    if (awaited.has(widget) || !picture || !widget.querySelector(".noUi-target")) {
      return;
    }
    awaited.add(widget);
    inSight.observe(picture);
    for (const touch of ["pointerdown", "keydown"]) {
      widget.addEventListener(touch, () => {
        inSight.unobserve(picture);
        widget.dispatchEvent(new Event("touched"));
      }, { once: true, capture: true });
    }
  }

  window.addEventListener("load", () => {
    const tend = () => {
      document.querySelectorAll(".widget-slider").forEach(nameSlider);
      document.querySelectorAll(".jupyter-widgets.plays").forEach(awaitSight);
    };
    tend();
    for (const output of document.querySelectorAll(".cell_output")) {
      new MutationObserver(tend).observe(output, {
        subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ["aria-valuetext"],
      });
    }
  });
})();
