/* Light or dark, before anything is drawn. The book keeps its reader's choice under the same name, so both agree. */
"use strict";

const theme = {
  system: window.matchMedia("(prefers-color-scheme: dark)"),
  listeners: [],

  /* "light", "dark" or "auto". A browser may refuse storage to a page that was opened from a folder. */
  get mode() {
    let stored = null;
    try { stored = localStorage.getItem("mode"); } catch { /* then the choice lasts as long as the page */ }
    stored = this.chosen ?? stored;
    return stored === "light" || stored === "dark" ? stored : "auto";
  },

  get dark() {
    if (this.told) return this.told === "dark";
    return this.mode === "dark" || (this.mode === "auto" && this.system.matches);
  },

  choose(mode) {
    this.chosen = mode;
    this.told = null;
    try {
      localStorage.setItem("mode", mode);
      localStorage.setItem("theme", this.dark ? "dark" : "light");
    } catch { /* as above */ }
    this.apply();
  },

  apply() {
    document.documentElement.dataset.theme = this.dark ? "dark" : "light";
    for (const listener of this.listeners) listener();
  },
};

const framed = window.top !== window.self;
document.documentElement.classList.toggle("framed", framed);
theme.apply();
theme.system.addEventListener("change", () => theme.apply());
window.addEventListener("storage", () => { theme.chosen = null; theme.apply(); });
/* Inside a page of the book, that page says what it looks like. */
window.addEventListener("message", ({ source, data }) => {
  if (source !== window.parent || !["light", "dark"].includes(data?.theme)) return;
  theme.told = data.theme;
  theme.apply();
});
