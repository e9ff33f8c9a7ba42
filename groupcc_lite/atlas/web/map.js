/* One map: dots for all features and, where there is room, their pictures. Zooming is d3's; the rest is a canvas.
   Tens of thousands of features move without a jerk: dots are copies of a few stamps, set down pixel by pixel, since a
   canvas takes longer for as many shapes or images; what lies still while a pointer passes is kept as a picture; and a
   quadtree knows which features are near a point. */
"use strict";

const PICTURE = 30;  // smallest side of a picture on the map, in pixels of the page
const MARGIN = 26;
const STRETCH = 1.7;
const REACH = 8;  // no symbol is larger, at size 1 and with its edge

/* The pixels of a canvas, with a margin for what lies over its edge, on which stamps are set down. */
class Ground {
  constructor(canvas, side) {
    Object.assign(this, { side, width: canvas.width + 2 * side, height: canvas.height + 2 * side });
    this.image = new ImageData(this.width, this.height);
  }

  fits(canvas, side) { return this.side === side && this.width === canvas.width + 2 * side && this.height === canvas.height + 2 * side; }

  /* The pixels of a square image that are not empty, five numbers each: how far from the first one they lie on the
     ground, their colour times their opacity, and that. */
  stamp(data) {
    const found = [], { side, width } = this;
    for (let at = 0; at < data.length; at += 4) {
      const alpha = data[at + 3], row = Math.floor(at / 4 / side);
      if (!alpha) continue;
      found.push(4 * (row * width + at / 4 - row * side));
      for (let k = 0; k < 3; k++) found.push(data[at + k] * alpha / 255);
      found.push(alpha);
    }
    return Float32Array.from(found);
  }

  /* Lay a stamp over what is there, with its middle at a point; later ones hide earlier ones. */
  set(stamp, x, y) {
    const { side, width } = this, { data } = this.image;
    const left = Math.round(x + side / 2), top = Math.round(y + side / 2), first = 4 * (top * width + left);
    if (left < 0 || top < 0 || left > width - side || top > this.height - side) return;
    for (let k = 0; k < stamp.length; k += 5) {
      const at = first + stamp[k], kept = 1 - stamp[k + 4] / 255;
      data[at] = stamp[k + 1] + kept * data[at];
      data[at + 1] = stamp[k + 2] + kept * data[at + 1];
      data[at + 2] = stamp[k + 3] + kept * data[at + 2];
      data[at + 3] = stamp[k + 4] + kept * data[at + 3];
    }
  }

  draw(context) {
    const { data } = this.image;
    for (let at = 0; at < data.length; at += 4) {  // images hold colours that are not multiplied by their opacity
      const alpha = data[at + 3];
      if (!alpha || alpha === 255) continue;
      data[at] *= 255 / alpha;
      data[at + 1] *= 255 / alpha;
      data[at + 2] *= 255 / alpha;
    }
    context.putImageData(this.image, -this.side, -this.side);
  }
}

class FeatureMap {
  /* `actions`: hover(map, row or -1, x, y), choose(map, row), walk(map, row). */
  constructor(section, table, actions) {
    this.table = table;
    this.actions = actions;
    this.box = section.querySelector(".plot");
    this.canvas = section.querySelector("canvas");
    this.still = document.createElement("canvas");
    this.shown = new Uint8Array(table.count).fill(1);
    this.chosen = this.cursor = this.hovered = -1;
    this.relatives = [];
    this.transform = d3.zoomIdentity;
    this.symbols = SYMBOLS.map((name) => new Path2D(d3.symbol(d3[name], 52)()));
    this.zoom = d3.zoom().scaleExtent([1, 30])
      // Wheel and single fingers scroll a page that the map is only a part of.
      .filter((event) => event.type === "wheel" ? !framed || event.ctrlKey || event.metaKey
        : event.type.startsWith("touch") ? event.touches.length > 1 : !event.button)
      .on("zoom", (event) => { this.transform = event.transform; this.redraw(); });
    d3.select(this.canvas).call(this.zoom).on("dblclick.zoom", null).style("touch-action", "pan-x pan-y");
    this.listen(section);
    new ResizeObserver(() => this.resize()).observe(this.box);
    this.resize();
  }

  listen(section) {
    this.canvas.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "touch") this.hover(event.buttons ? -1 : this.find(event.offsetX, event.offsetY));
    });
    this.canvas.addEventListener("pointerleave", () => this.hover(-1));
    this.canvas.addEventListener("click", (event) => {
      const row = this.find(event.offsetX, event.offsetY, event.pointerType === "touch" ? 26 : 16);
      if (row >= 0) this.actions.choose(this, row);
    });
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.box.addEventListener("blur", () => { this.cursor = -1; this.hover(-1); });
    for (const button of section.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => this.magnify(button.dataset.zoom));
    }
  }

  key(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const size = { "+": "in", "=": "in", "-": "out", "0": "all" }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (way) this.walk(...way);
    else if (size) this.magnify(size);
    else if ((event.key === "Enter" || event.key === " ") && this.cursor >= 0) this.actions.choose(this, this.cursor);
    else if (event.key === "Escape") { this.cursor = -1; this.hover(-1); return; }  // the page lets go of what is chosen
    else return;
    event.preventDefault();
  }

  /* ------------------------------------------------------------------------------------------------- places */

  resize() {
    const { width, height } = this.box.getBoundingClientRect(), { x, y } = this.table.span;
    if (!width || !height) return;
    const density = window.devicePixelRatio || 1;
    Object.assign(this, { width, height });
    for (const canvas of [this.canvas, this.still]) {
      canvas.width = Math.round(width * density);
      canvas.height = Math.round(height * density);
    }
    // The axes of such a map have no unit, so it may be stretched a little to fill its box.
    const across = (width - 2 * MARGIN) / x, down = (height - 2 * MARGIN) / y, least = Math.min(across, down);
    const sx = Math.min(across, STRETCH * least), sy = Math.min(down, STRETCH * least);
    const left = (width - sx * x) / 2, top = (height - sy * y) / 2;
    this.places = Array.from({ length: this.table.count }, (_, row) => (
      [left + sx * this.table.xy[2 * row], top + sy * (y - this.table.xy[2 * row + 1])]));
    this.dotSize = Math.min(1.25, Math.max(0.6, 0.085 * Math.sqrt((width * height) / this.table.count) * 0.62));
    this.zoom.extent([[0, 0], [width, height]]).translateExtent([[-60, -60], [width + 60, height + 60]]);
    this.arrange();
  }

  /* Which features may show a picture at which zoom: a feature does when no more important one is too close. Going
     through features by importance, the distance to the nearest earlier one says it all, whatever the zoom. */
  arrange() {
    if (!this.places) return;
    const { table, places } = this;
    const candidates = d3.range(table.count).filter((row) => this.shown[row] && table.picture[row] >= 0);
    candidates.sort((a, b) => table.frequency[b] - table.frequency[a]);
    this.room = new Float32Array(table.count).fill(-1);
    const earlier = this.tree();
    for (const row of candidates) {
      const [x, y] = places[row], other = earlier.find(x, y);
      this.room[row] = other === undefined ? Infinity : Math.hypot(places[other][0] - x, places[other][1] - y);
      earlier.add(row);
    }
    this.near = this.tree().addAll(d3.range(table.count).filter((row) => this.shown[row]));
    this.redraw();
  }

  /* An empty quadtree of rows, by their places. */
  tree() {
    return d3.quadtree().x((row) => this.places[row][0]).y((row) => this.places[row][1])
      .extent([[0, 0], [this.width, this.height]]);
  }

  get pictureSize() { return PICTURE * Math.min(3, this.transform.k ** 0.3); }

  hasPicture(row) { return this.room[row] * this.transform.k > 1.1 * this.pictureSize; }

  at(row) { return this.transform.apply(this.places[row]); }

  /* The shown feature at a point of the canvas, -1 if there is none within `reach`; the first of equally near ones. */
  find(x, y, reach = 16) {
    if (!this.near) return -1;
    const { k } = this.transform, [mx, my] = this.transform.invert([x, y]);
    const wide = Math.max(reach, this.pictureSize / 2);
    let best = -1, closest = Infinity;
    this.near.visit((node, left, top, right, bottom) => {
      const most = Math.min(wide, closest) / k + 1e-6;  // beyond the rounding of places
      if (left > mx + most || right < mx - most || top > my + most || bottom < my - most) return true;
      for (let leaf = node.length ? null : node; leaf; leaf = leaf.next) {
        const row = leaf.data, [px, py] = this.at(row), distance = Math.hypot(px - x, py - y);
        if (distance < (this.hasPicture(row) ? wide : reach)
            && (distance < closest || (distance === closest && row < best))) [best, closest] = [row, distance];
      }
      return false;
    });
    return best;
  }

  /* -------------------------------------------------------------------------------------------------- moves */

  hover(row) {
    if (row !== this.hovered) this.redraw(false);
    this.hovered = row;
    this.canvas.style.cursor = row < 0 ? "" : "pointer";
    this.actions.hover(this, row, ...(row < 0 ? [] : this.at(row)));
  }

  /* From the cursor to the nearest shown feature in a direction; being off to the side counts double. */
  walk(dx, dy) {
    let next = -1;
    if (this.cursor < 0 || !this.shown[this.cursor]) {
      next = this.chosen >= 0 && this.shown[this.chosen] ? this.chosen : this.find(this.width / 2, this.height / 2, Infinity);
    } else {
      const [x, y] = this.places[this.cursor];
      let best = Infinity;
      for (let row = 0; row < this.table.count; row++) {
        const along = (this.places[row][0] - x) * dx + (this.places[row][1] - y) * dy;
        const aside = Math.abs((this.places[row][0] - x) * dy) + Math.abs((this.places[row][1] - y) * dx);
        if (this.shown[row] && row !== this.cursor && along > 0 && aside <= 2 * along && along + 2 * aside < best) {
          [next, best] = [row, along + 2 * aside];
        }
      }
    }
    if (next < 0) return;
    this.cursor = next;
    this.reveal(next);
    this.hover(next);
    this.redraw(false);
    this.actions.walk(this, next);
  }

  /* Bring a feature into view if the map is zoomed in elsewhere. */
  reveal(row) {
    if (!this.places) return;
    const [x, y] = this.at(row);
    if (x < 20 || y < 20 || x > this.width - 20 || y > this.height - 20) {
      this.zoom.translateTo(d3.select(this.canvas), ...this.places[row]);
    }
  }

  magnify(how) {
    const canvas = still() ? d3.select(this.canvas) : d3.select(this.canvas).transition().duration(280);
    if (how === "all") return void canvas.call(this.zoom.transform, d3.zoomIdentity);
    // Towards the feature that matters; the middle of a map may be empty.
    const row = [this.cursor, this.chosen, this.find(this.width / 2, this.height / 2, Infinity)].find((one) => one >= 0);
    canvas.call(this.zoom.scaleBy, how === "in" ? 1.7 : 1 / 1.7, row === undefined ? undefined : this.at(row));
  }

  choose(row) {
    this.chosen = row;
    this.relatives = row < 0 ? [] : this.table.relativesOf(row);
    if (row >= 0) this.reveal(row);
    this.redraw();
  }

  /* ------------------------------------------------------------------------------------------------ drawing */

  /* How features look: `look(row)` is their colour, symbol and whether it is hollow. Those alike share a stamp. */
  wear(look) {
    const numbers = new Map();
    Object.assign(this, { look, looks: [], wears: new Uint32Array(this.table.count) });
    for (let row = 0; row < this.table.count; row++) {
      const one = look(row), name = `${one.colour} ${one.symbol} ${Boolean(one.hollow)}`;
      if (!numbers.has(name)) numbers.set(name, this.looks.push(one) - 1);
      this.wears[row] = numbers.get(name);
    }
    this.stamps = null;
    this.redraw();
  }

  /* `all` unless only what is marked has changed. */
  redraw(all = true) {
    this.stale ||= all;
    this.frame ??= requestAnimationFrame(() => { this.frame = null; if (this.room && this.look) this.draw(); });
  }

  draw() {
    const context = this.canvas.getContext("2d"), density = window.devicePixelRatio || 1;
    if (this.stale) this.drawStill(density);
    this.stale = false;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.drawImage(this.still, 0, 0);
    context.setTransform(density, 0, 0, density, 0, 0);
    for (const row of [this.chosen, this.cursor, this.hovered]) {
      if (row >= 0 && this.isVisible(...this.at(row))) this.mark(context, row);
    }
  }

  isVisible(x, y) { return x > -50 && y > -50 && x < this.width + 50 && y < this.height + 50; }

  /* Everything but the marks. */
  drawStill(density) {
    const context = this.still.getContext("2d"), pictures = [], { k, x: left, y: top } = this.transform;
    this.ink = Object.fromEntries(["ink", "muted", "panel", "accent"].map((name) => [name, colours.of(`--${name}`)]));
    // In steps, so that most frames of a zoom find their stamps made.
    const stamps = this.stamp(Math.ceil(16 * this.dotSize * Math.min(1.8, k ** 0.3)) / 16, density), { ground } = this;
    ground.image.data.fill(0);
    for (let row = 0; row < this.table.count; row++) {
      const x = k * this.places[row][0] + left, y = k * this.places[row][1] + top;
      if (!this.isVisible(x, y)) continue;
      if (this.shown[row] && this.hasPicture(row)) { pictures.push(row); continue; }
      ground.set(stamps[2 * this.wears[row] + this.shown[row]], x * density, y * density);
    }
    ground.draw(context);
    context.setTransform(density, 0, 0, density, 0, 0);
    this.drawnPictures = pictures.length;
    this.lines(context);
    for (const row of pictures) this.picture(context, row, this.pictureSize);
  }

  /* Dots of each look as lists of pixels, first as they are when filtered out, then as they are when shown. */
  stamp(size, density) {
    const side = 2 * Math.ceil(REACH * size * density);
    if (!this.ground?.fits(this.still, side)) [this.ground, this.stamps] = [new Ground(this.still, side), null];
    const name = [size, density, ...Object.values(this.ink)].join();
    if (this.stamps?.name === name) return this.stamps.list;
    const canvas = document.createElement("canvas"), context = canvas.getContext("2d", { willReadFrequently: true });
    canvas.width = canvas.height = side;
    context.scale(density, density);
    const list = d3.range(2 * this.looks.length).map((number) => {
      const shown = number % 2 === 1, middle = side / 2 / density;
      context.clearRect(0, 0, 2 * middle, 2 * middle);
      this.dot(context, middle, middle, this.looks[number >> 1], shown ? size : 0.55 * size, shown);
      return this.ground.stamp(context.getImageData(0, 0, side, side).data);
    });
    this.stamps = { name, list };
    return this.stamps.list;
  }

  dot(context, x, y, look, size, shown) {
    context.save();
    context.translate(x, y);
    context.scale(size, size);
    context.globalAlpha = shown ? 0.9 : 0.28;
    const hollow = look.hollow && shown;
    context.fillStyle = hollow ? this.ink.panel : shown ? look.colour : this.ink.muted;
    context.fill(this.symbols[look.symbol]);
    context.lineWidth = hollow ? 1.6 : 0.8;
    context.strokeStyle = hollow ? look.colour : this.ink.panel;
    if (shown) context.stroke(this.symbols[look.symbol]);
    context.restore();
  }

  picture(context, row, side, ring = 2) {
    const [x, y] = this.at(row), sheet = this.table.sheet(row, () => this.redraw());
    context.save();
    context.beginPath();
    context.arc(x, y, side / 2, 0, 2 * Math.PI);
    context.fillStyle = "#808080";
    context.fill();
    context.lineWidth = ring;
    if (sheet?.ready) {
      context.save();
      context.clip();
      context.imageSmoothingQuality = "high";
      context.drawImage(sheet.image, sheet.x, sheet.y, sheet.size, sheet.size, x - side / 2, y - side / 2, side, side);
      context.restore();
    }
    const look = this.look(row);
    context.strokeStyle = look.colour;
    if (look.hollow) context.setLineDash([3, 3]);
    context.stroke();
    context.restore();
  }

  /* From the chosen feature to its relatives, stronger where they are more alike. */
  lines(context) {
    if (this.chosen < 0) return;
    const from = this.at(this.chosen);
    for (const { row, cosine } of this.relatives) {
      const to = this.at(row);
      context.save();
      context.globalAlpha = 0.25 + 0.75 * Math.max(0, cosine);
      context.strokeStyle = this.ink.ink;
      context.lineWidth = 1.4;
      context.beginPath();
      context.moveTo(...from);
      context.lineTo(...to);
      context.stroke();
      context.beginPath();
      context.arc(...to, 6.5, 0, 2 * Math.PI);
      context.stroke();
      context.restore();
    }
  }

  /* The chosen feature, the one under the keyboard's cursor and the one under the pointer stand out. */
  mark(context, row) {
    const [x, y] = this.at(row), side = Math.max(1.35 * this.pictureSize, 46);
    if (this.table.picture[row] >= 0) this.picture(context, row, side, 3);
    else this.dot(context, x, y, this.looks[this.wears[row]], 1.7, this.shown[row] === 1);
    context.beginPath();
    context.arc(x, y, (this.table.picture[row] >= 0 ? side / 2 : 9) + 3.5, 0, 2 * Math.PI);
    context.lineWidth = 2.5;
    context.strokeStyle = row === this.chosen ? this.ink.accent : this.ink.ink;
    if (row === this.cursor && row !== this.chosen) context.setLineDash([5, 4]);
    context.stroke();
    context.setLineDash([]);
  }
}
