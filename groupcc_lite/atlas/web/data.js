/* The atlas's data: scripts that call atlasData(), arrays in base64, pictures on sheets. Nothing is fetched, so the page
   also works when it is opened from a folder. How the files are written: groupcc_lite/atlas/storage.py. */
"use strict";

const received = {};

/* Called by every data file. */
function atlasData(name, content) { received[name] = content; }

function loadData(name) {
  if (received[name]) return Promise.resolve(received[name]);
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `data/${name}.js`;
    script.onload = () => received[name] ? resolve(received[name]) : reject(new Error(`data/${name}.js is damaged`));
    script.onerror = () => reject(new Error(`data/${name}.js is missing`));
    document.head.append(script);
  });
}

const ARRAYS = { i1: Int8Array, u1: Uint8Array, i2: Int16Array, u2: Uint16Array, i4: Int32Array, f4: Float32Array };

function unpack({ type, scale, base64 }) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const numbers = new ARRAYS[type](bytes.buffer);
  return scale === 1 ? numbers : Float32Array.from(numbers, (value) => value * scale);
}

/* All features of one coder. A feature is known by its row here and by its number to people. */
class Table {
  constructor(content, facts) {
    this.facts = facts;
    for (const [key, value] of Object.entries(content)) this[key] = value?.base64 ? unpack(value) : value;
    this.count = this.features.length;
    this.rows = new Map(this.features.map((number, row) => [number, row]));
    this.span = { x: Math.max(1e-3, d3.max(this.xy.filter((_, k) => k % 2 === 0))),
                  y: Math.max(1e-3, d3.max(this.xy.filter((_, k) => k % 2 === 1))) };
    this.images = [];
  }

  get hasBlocks() { return this.profile !== undefined; }

  hash(row) { return `#${this.kind === "sae" ? "sae" : "f"}/${this.features[row]}`; }

  /* Older data say neither; what they show is as it was stored. */
  get isJudged() { return this.confirmed !== undefined; }

  label(row) { return this.hasBlocks ? this.facts.subgroups[this.subgroup[row]].label : null; }

  /* The profile that the stabiliser was read from, its name, and the threshold. Of an invariant feature that is the
     cosine as it is; of all others the centred one, and of old data always the former. */
  reading(row) {
    const { subgroups, group, tau, invariant } = this.facts;
    const whole = subgroups[this.subgroup[row]].elements.length === group.order, plain = this.part(this.profile, row);
    if (!this.isJudged) return { profile: plain, plain, name: "c", tau, whole };
    return whole ? { profile: plain, plain, name: "c", tau: invariant, whole }
      : { profile: this.part(this.centred, row), plain, name: "c′", tau, whole };
  }

  /* Whether its symmetry is to be doubted; of "none" there is nothing to doubt. */
  doubtful(row) { return this.hasBlocks && this.label(row) !== "none" && this.margin[row] < DOUBTFUL; }

  drawn(row) { return this.drawing[row] < 0 ? null : this.facts.shapes[this.drawing[row]]; }

  part(values, row) {
    const length = values.length / this.count;
    return values.subarray(row * length, (row + 1) * length);
  }

  relativesOf(row) {
    const cosines = this.part(this.relative_cosine, row), elements = this.part(this.relative_element, row);
    return Array.from(this.part(this.relatives, row), (other, k) => (
      { row: other, cosine: cosines[k], element: elements[k] }));
  }

  /* A function (g, h) -> cosine of two blocks. Heatmaps come in chunks, as upper triangles. */
  async heatmap(row) {
    const { chunk, group } = this.facts, n = group.order;
    const packed = await loadData(`${this.kind}-blocks-${Math.floor(row / chunk)}`);
    packed.values ??= unpack(packed);
    const start = (row % chunk) * (n * (n + 1)) / 2;
    return (g, h) => {
      const [low, high] = g < h ? [g, h] : [h, g];
      return packed.values[start + low * n - (low * (low - 1)) / 2 + high - low];
    };
  }

  /* The sheet that holds a feature's picture; null if the feature was not drawn. Calls `loaded` when it arrives. */
  sheet(row, loaded) {
    const place = this.picture[row];
    if (place < 0) return null;
    const number = Math.floor(place / this.facts.sheet), onSheet = place % this.facts.sheet;
    let image = this.images[number];
    if (!image) {
      image = this.images[number] = new Image();
      image.src = `data/${this.kind}-${number}.webp`;
    }
    const ready = image.complete && image.naturalWidth > 0, size = this.picture_size;
    if (!ready && loaded) image.addEventListener("load", loaded, { once: true });
    return { image, ready, size, x: (onSheet % this.facts.columns) * size,
             y: Math.floor(onSheet / this.facts.columns) * size };
  }

  /* Draw a feature's picture over a whole canvas, now or when its sheet has arrived. */
  drawPicture(canvas, row) {
    const wanted = this.hash(row), context = canvas.getContext("2d");
    canvas.dataset.feature = wanted;
    canvas.dataset.ready = "no";
    const sheet = this.sheet(row, () => canvas.dataset.feature === wanted && this.drawPicture(canvas, row));
    if (!sheet) {
      context.clearRect(0, 0, canvas.width, canvas.height);
    } else if (sheet.ready) {
      context.imageSmoothingQuality = "high";
      context.drawImage(sheet.image, sheet.x, sheet.y, sheet.size, sheet.size, 0, 0, canvas.width, canvas.height);
      canvas.dataset.ready = "yes";
    }
  }
}

/* ------------------------------------------------------------------------------------------ words and colours */

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉";
/* "s r^15" as s r¹⁵, "D_16" as D₁₆, "C2 x C2" as C2 × C2. */
const pretty = (text) => text.replace(/\^(-?)(\d+)/g, (_, minus, digits) => (
  (minus ? "⁻" : "") + [...digits].map((digit) => SUPERSCRIPTS[digit]).join("")))
  .replace(/_(\d+)/g, (_, digits) => [...digits].map((digit) => SUBSCRIPTS[digit]).join("")).replace(/ x /g, " × ");
/* A symmetry's label as it is shown: "all" alone would read like a filter that is off. */
const named = (label) => label === "all" ? "all elements" : pretty(label);
/* "C4" and "C2 x C2" say nothing to most readers; such labels stand with what they mean. */
const isTechnical = (label) => /^[A-Z]\d/.test(label);
const DOUBTFUL = 0.05;  // a margin below it could as well be another label
const percent = (share) => share === 0 ? "0 %" : `${(100 * share).toFixed(share < 0.00995 ? 2 : 1)} %`;
const decimals = (value, digits = 2) => value.toFixed(digits).replace(/^-(?=0\.?0*$)/, "").replace("-", "−");
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

/* Told apart with any kind of colour vision; the same hues as the book's figures, lighter on dark. */
const PALETTES = {
  light: ["#0072B2", "#D55E00", "#009E73", "#B55A92", "#B87A00", "#3A93C9", "#6A4C93", "#7A5C3E"],
  dark: ["#56A9E0", "#F28A4B", "#35C79B", "#E59CC6", "#F2BE4A", "#9AD4F7", "#B9A0E6", "#C9A67F"],
};
const DIVERGING = {
  light: ["#08306b", "#1f6fb0", "#7fb5d9", "#dfeaf1", "#f8f7f4", "#fae3d0", "#f0a76b", "#cf5d0b", "#7a2e00"],
  dark: ["#cfe6fb", "#86bdea", "#3f86c2", "#1f4566", "#1c232b", "#5b3519", "#b8621f", "#f09a55", "#ffe0c2"],
};
const colours = {
  get name() { return theme.dark ? "dark" : "light"; },
  get palette() { return PALETTES[this.name]; },
  get diverging() {
    const stops = DIVERGING[this.name];
    return d3.scaleLinear().domain(stops.map((_, k) => -1 + (2 * k) / (stops.length - 1))).range(stops).clamp(true);
  },
  of(variable) { return getComputedStyle(document.documentElement).getPropertyValue(variable).trim(); },
};
const SYMBOLS = ["symbolCircle", "symbolSquare", "symbolTriangle", "symbolDiamond", "symbolCross", "symbolStar", "symbolWye"];

const still = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

/* Elements from a short description: make("p", { class: "x" }, "text", child, ...). */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
