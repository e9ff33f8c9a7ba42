/* What is shown about one feature. Every function returns an element; nothing here knows about the maps. */
"use strict";

const RIM = 82;  // radius of a profile's circle at c = 1; the centre is c = -1
const radius = (cosine) => (RIM * (cosine + 1)) / 2;

/* How an element moves a picture: CSS for the canvas that holds it. */
function moved(group, h) {
  const [a, b, c, d] = group.matrices[h];
  return { transform: `matrix(${a}, ${c}, ${b}, ${d}, 0, 0)`, filter: group.colours ? recolour(group, h) : "" };
}

function recolour(group, h) {
  const id = `recolour-${h}`;
  if (!document.getElementById(id)) {
    const [rr, rg, rb, gr, gg, gb, br, bg, bb] = group.colours[h];
    d3.select("body").append("svg").attr("width", 0).attr("height", 0).attr("class", "unseen").append("filter")
      .attr("id", id).attr("color-interpolation-filters", "sRGB").append("feColorMatrix")
      .attr("values", `${rr} ${rg} ${rb} 0 0  ${gr} ${gg} ${gb} 0 0  ${br} ${bg} ${bb} 0 0  0 0 0 1 0`);
  }
  return `url(#${id})`;
}

function picture(table, row, side, name = "picture") {
  const density = Math.max(2, window.devicePixelRatio || 1);
  const canvas = make("canvas", { class: name, width: side * density, height: side * density, role: "img",
                                  "aria-label": `Feature visualisation of feature ${table.features[row]}` });
  canvas.style.width = canvas.style.height = `${side}px`;
  if (table.picture[row] < 0) return make("span", { class: `${name} none` }, "not drawn");
  table.drawPicture(canvas, row);
  return canvas;
}

/* A picture inside a link whose text says what it is. */
function hidden(image) {
  image.removeAttribute("role");
  image.removeAttribute("aria-label");
  image.setAttribute("aria-hidden", "true");
  return image;
}

const HELP = {
  Margin: "How far the deciding cosine lies from the threshold. Near zero, a slightly different threshold would give another label; below zero, a cosine outside the stabiliser passes it as well.",
  Equivariance: "1 if the cosine of two blocks depends only on the element that leads from one to the other, as it does where everything turns with the image. Near 0, the blocks follow no such rule.",
  "Power in each irrep": "The feature split into waves over the group, and the share of its squared length in each.",
};

/* A question mark that says what a number means when it is opened. */
const help = (term, more = "") => make("details", { class: "help" }, make("summary", { "aria-label": `What is this: ${term}` }, "?"),
  make("span", {}, `${HELP[term]} ${more}`));

/* ------------------------------------------------------------------------------------------------- the profile */

/* One circle: cosines as distances from the centre, at the angle of h. Mirrors have an axis, and an axis two ends. */
function circle(table, row, elements, title, onElement) {
  const { group } = table.facts, { profile, tau } = table.reading(row);
  const stabiliser = new Set(table.facts.subgroups[table.subgroup[row]].elements);
  const axes = group.planar && elements[0] >= group.rotations;
  const points = elements.flatMap((h) => (axes ? [0, 180] : [0]).map((half) => {
    const angle = ((group.circle[h] + half) * Math.PI) / 180;
    return { h, angle, x: radius(profile[h]) * Math.cos(angle), y: -radius(profile[h]) * Math.sin(angle) };
  })).sort((p, q) => p.angle - q.angle);
  const kind = elements[0] >= group.rotations ? "mirrors" : "turns";
  const svg = d3.create("svg").attr("viewBox", "-112 -104 224 208").attr("class", `circle ${kind}`).attr("role", "img")
    .attr("aria-label", `${title}. ${spoken(table, profile, elements)}`);
  for (const [value, name] of [[1, "rim"], [0, "zero"], [tau, "threshold"]]) {
    svg.append("circle").attr("r", radius(value)).attr("class", name);
  }
  const labels = axes ? [] : [[0, "0°"], [90, "90°"], [180, "180°"], [270, "270°"]];
  svg.selectAll(".angle").data(labels).join("text").attr("class", "angle").attr("dy", "0.35em")
    .attr("x", ([angle]) => (RIM + 20) * Math.cos((angle * Math.PI) / 180))
    .attr("y", ([angle]) => -(RIM + 15) * Math.sin((angle * Math.PI) / 180)).text(([, text]) => text);
  if (axes) svg.selectAll(".axis").data(points).join("line").attr("class", "axis")
    .attr("x2", (p) => RIM * Math.cos(p.angle)).attr("y2", (p) => -RIM * Math.sin(p.angle));
  svg.append("path").attr("class", "outline")
    .attr("d", d3.line((p) => p.x, (p) => p.y).curve(d3.curveLinearClosed)(points));
  const dots = svg.selectAll(".dot").data(points).join("g").attr("class", "dot").attr("data-element", (p) => p.h)
    .classed("kept", (p) => stabiliser.has(p.h)).attr("transform", (p) => `translate(${p.x}, ${p.y})`)
    .on("pointerenter click", (_, p) => onElement(p.h));
  dots.append("circle").attr("class", "reach").attr("r", 10);
  dots.append("circle").attr("class", "mark").attr("r", 4.2);
  dots.append("title").text((p) => cosinesOf(table, row, p.h));
  return make("figure", { class: "profile" }, svg.node(), make("figcaption", {}, title));
}

/* "r²: c′ = 0.31, c = 0.45" */
function cosinesOf(table, row, h) {
  const { profile, plain, name } = table.reading(row), also = name === "c" ? "" : `, c = ${decimals(plain[h])}`;
  return `${pretty(table.facts.group.elements[h])}: ${name} = ${decimals(profile[h])}${also}`;
}

function spoken(table, profile, elements) {
  const best = elements.filter((h) => h > 0).sort((g, h) => profile[h] - profile[g]).slice(0, 3);
  const text = best.map((h) => `${table.facts.group.elements[h]} ${decimals(profile[h])}`).join(", ");
  return best.length ? `Largest cosines: ${text}.` : "The identity alone.";
}

/* For groups that are neither cyclic nor dihedral: a bar for each element. */
function bars(table, row, onElement) {
  const { group } = table.facts, { profile, tau, name } = table.reading(row);
  const stabiliser = new Set(table.facts.subgroups[table.subgroup[row]].elements);
  const x = d3.scaleBand(d3.range(group.order), [26, 356]).padding(0.2), y = d3.scaleLinear([-1, 1], [126, 8]);
  const svg = d3.create("svg").attr("viewBox", "0 0 360 170").attr("class", "bars").attr("role", "img")
    .attr("aria-label", `Profile by element. ${spoken(table, profile, d3.range(group.order))}`);
  for (const value of [-1, 0, 1]) {
    svg.append("line").attr("class", value ? "rim" : "zero").attr("x1", 26).attr("x2", 356).attr("y1", y(value)).attr("y2", y(value));
    svg.append("text").attr("class", "angle").attr("x", 14).attr("y", y(value)).attr("dy", "0.35em").text(decimals(value, 0));
  }
  svg.append("line").attr("class", "threshold").attr("x1", 26).attr("x2", 356).attr("y1", y(tau)).attr("y2", y(tau));
  const bar = svg.selectAll(".dot").data(d3.range(group.order)).join("g").attr("class", "dot").attr("data-element", (h) => h)
    .classed("kept", (h) => stabiliser.has(h)).on("pointerenter click", (_, h) => onElement(h));
  bar.append("rect").attr("class", "mark").attr("x", (h) => x(h)).attr("width", x.bandwidth())
    .attr("y", (h) => y(Math.max(0, profile[h]))).attr("height", (h) => Math.abs(y(profile[h]) - y(0)));
  bar.append("title").text((h) => cosinesOf(table, row, h));
  const every = Math.ceil(group.order / 16);
  svg.selectAll(".name").data(d3.range(0, group.order, every)).join("text").attr("class", "name")
    .attr("transform", (h) => `translate(${x(h) + x.bandwidth() / 2}, 134) rotate(-60)`)
    .text((h) => pretty(group.elements[h]));
  return make("figure", { class: "profile wide" }, svg.node(), make("figcaption", {}, `${name}(h) by element`));
}

function profiles(table, row, onElement) {
  const { group } = table.facts;
  if (group.circle === null) return [bars(table, row, onElement)];
  const rotations = d3.range(group.rotations), mirrors = d3.range(group.rotations, group.order);
  const found = [circle(table, row, rotations, group.planar ? "Rotations, by angle" : "Elements rᵏ", onElement)];
  if (mirrors.length) {
    found.push(circle(table, row, mirrors, group.planar ? "Reflections, by mirror axis" : "Elements s rᵏ", onElement));
  }
  return found;
}

/* --------------------------------------------------------------------------------------- heatmap and spectrum */

function heatmap(table, row) {
  const { group } = table.facts, n = group.order, side = 2 * Math.max(96, 6 * n);
  const says = "Cosines between all pairs of blocks";
  const canvas = make("canvas", { class: "heatmap", width: side, height: side, role: "img", "aria-label":
    `Block heatmap: ${says.toLowerCase()}, in the order of the elements. ${plural(n, "row")}.` });
  const caption = make("figcaption", {}, says);
  table.heatmap(row).then((value) => {
    const context = canvas.getContext("2d"), colour = colours.diverging, cell = side / n;
    for (let g = 0; g < n; g++) {
      for (let h = 0; h < n; h++) {
        context.fillStyle = colour(value(g, h));
        context.fillRect(h * cell, g * cell, Math.ceil(cell), Math.ceil(cell));
      }
    }
    if (group.rotations && group.rotations < n) {
      context.fillStyle = colours.of("--ink");
      context.fillRect(group.rotations * cell - 1, 0, 2, side);
      context.fillRect(0, group.rotations * cell - 1, side, 2);
    }
    canvas.dataset.ready = "yes";
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect(), place = (at, size) => Math.min(n - 1, Math.max(0, Math.floor((at / size) * n)));
      const g = place(event.clientY - box.top, box.height), h = place(event.clientX - box.left, box.width);
      caption.textContent = `${pretty(group.elements[g])} with ${pretty(group.elements[h])}: ${decimals(value(g, h))}`;
    });
    canvas.addEventListener("pointerleave", () => { caption.textContent = says; });
  }).catch((error) => { caption.textContent = error.message; });
  const halves = group.rotations && group.rotations < n
    ? make("div", { class: "halves" }, make("span", {}, group.planar ? "rotations" : "rᵏ"), make("span", {}, group.planar ? "reflections" : "s rᵏ")) : null;
  return make("figure", { class: "blocks" }, halves, canvas, caption, make("div", { class: "scale" },
    make("span", {}, "−1"), make("span", { class: "ramp", style: `background: linear-gradient(90deg, ${DIVERGING[colours.name].join(", ")})` }), make("span", {}, "1")));
}

function spectrum(table, row) {
  const irreps = table.facts.group.irreps, shares = Array.from(table.part(table.spectrum, row));
  const height = 16 * irreps.length + 4, x = d3.scaleLinear([0, Math.max(0.5, d3.max(shares))], [0, 96]);
  const strongest = irreps[d3.maxIndex(shares)];
  const svg = d3.create("svg").attr("viewBox", `0 0 178 ${height}`).attr("class", "spectrum").attr("role", "img")
    .attr("aria-label", `Irrep spectrum. Most power in ${strongest.name} (${strongest.meaning}): ${percent(d3.max(shares))}.`);
  const line = svg.selectAll("g").data(irreps).join("g").attr("transform", (_, k) => `translate(0, ${16 * k + 2})`);
  line.append("text").attr("x", 38).attr("y", 10.5).attr("text-anchor", "end").text((irrep) => irrep.name);
  line.append("rect").attr("x", 44).attr("width", (_, k) => Math.max(0.5, x(shares[k]))).attr("height", 12).attr("rx", 2);
  line.append("text").attr("class", "value").attr("x", (_, k) => 48 + x(shares[k])).attr("y", 10.5)
    .text((_, k) => `${(100 * shares[k]).toFixed(0)} %`);
  line.append("title").text((irrep) => `${irrep.name}: ${irrep.meaning}`);
  return make("figure", { class: "powers" }, svg.node(), make("figcaption", {}, "Power in each irrep"),
    help("Power in each irrep", irreps.map((irrep) => `${irrep.name}: ${irrep.meaning}.`).join(" ")));
}

/* Where the cosines lie about the threshold: a label with a small margin is to be doubted. */
function marginScale(table, row) {
  const { tau, whole } = table.reading(row), inside = table.inside[row], outside = table.outside[row];
  // Of the whole group nothing is outside.
  const says = [["inside", inside], ...(whole ? [] : [["outside", outside]])], low = d3.min(says, ([, value]) => value);
  const x = d3.scaleLinear([Math.min(-0.1, low), 1], [6, 184]);
  const svg = d3.create("svg").attr("viewBox", "0 0 190 22").attr("class", "margin").attr("aria-hidden", "true");
  svg.append("line").attr("x1", 6).attr("x2", 184).attr("y1", 11).attr("y2", 11).attr("class", "rim");
  svg.append("line").attr("x1", x(tau)).attr("x2", x(tau)).attr("y1", 1).attr("y2", 21).attr("class", "threshold");
  for (const [name, value] of says.reverse()) {
    svg.append("circle").attr("cx", x(value)).attr("cy", 11).attr("r", 4.5).attr("class", name);
  }
  return make("span", { class: "margin" }, svg.node(), make("small", {},
    `${says.map(([name, value]) => `${name} ${decimals(value)}`).join(", ")}, threshold ${tau}`));
}

/* What the label is worth, in words: a list, or nothing for old data, which do not say. */
function worth(table, row) {
  if (!table.isJudged) return null;
  const { subgroups, false_rate } = table.facts, own = subgroups[table.subgroup[row]];
  const found = subgroups[table.supported[row]], rate = table.rate[row], { whole } = table.reading(row);
  const line = (kind, name, text) => make("li", { "data-says": kind }, make("strong", {}, name), ` ${text}`);
  const lines = [line("trivial", percent(table.trivial[row]), "of its power is the same for every element (p₁).")];
  if (own.elements.length === 1) return make("ul", { class: "worth" }, ...lines);
  const measured = `False discovery rate ${decimals(rate)}, allowed ${false_rate}.`;
  const chance = "features with the same spectrum and unrelated axes";
  if (whole) lines.push(line("untested", "Not tested against chance:", "what would be compared with it is as invariant."));
  else if (table.supported[row] === table.subgroup[row]) lines.push(line("supported", "Supported:", `${chance} are rarely so symmetric. ${measured}`));
  else if (found.elements.length > 1) lines.push(line("partly", `Supported only: ${named(found.label)}.`, measured));
  else if (!own.testable) lines.push(line("untested", "Not tested against chance:", `${chance} have the same cosines here.`));
  else lines.push(line("unsupported", "Not supported:", `${chance} are too often so symmetric. ${measured}`));
  const cosine = `Its smallest cosine there is ${decimals(table.encoder[row])}.`;
  if (table.confirmed[row] < 0) lines.push(line("silent", "Not confirmed:", "the encoder never responds to the held-out images."));
  else if (table.confirmed[row]) lines.push(line("confirmed", "Confirmed:", `on held-out images the encoder has this symmetry too. ${cosine}`));
  else lines.push(line("unconfirmed", "Not confirmed:", `on held-out images the encoder does not have it, by the same threshold. ${cosine}`));
  return make("ul", { class: "worth" }, ...lines);
}

/* ------------------------------------------------------------------------------------------------- the relatives */

function relativesOf(table, row) {
  const { group } = table.facts;
  const list = make("ul", { class: "relatives" }, ...table.relativesOf(row).map(({ row: other, cosine, element }) => {
    const name = table.hasBlocks ? pretty(group.elements[element]) : "";
    const image = picture(table, other, 64, "small");
    const { transform, filter } = table.hasBlocks ? moved(group, element) : { transform: "none", filter: "" };
    image.style.setProperty("--moved", transform);
    image.style.setProperty("--recoloured", filter || "none");
    hidden(image);
    const unseen = (text) => make("span", { class: "unseen" }, text);
    return make("li", {}, make("a", { href: table.hash(other) }, image, unseen("Feature "),
      make("span", { class: "number" }, String(table.features[other])),
      make("span", {}, unseen(table.hasBlocks ? ", moved by " : ""), make("span", { class: "moves" }, name),
        unseen(", cosine "), make("span", { class: "alike" }, decimals(cosine)))));
  }));
  if (!table.hasBlocks) return [make("h3", {}, "Nearest features"), make("p", { class: "aside" }, "By the plain cosine of their dictionary vectors."), list];
  const turn = make("button", { type: "button", "aria-pressed": "false", class: "turn" }, "Move them all");
  turn.addEventListener("click", () => {
    const on = list.classList.toggle("moved");
    turn.setAttribute("aria-pressed", String(on));
  });
  const text = "The features most like this one once an element of the group has moved them. Moved by it, their pictures should look like this one's.";
  return [make("h3", {}, "Relatives"), make("p", { class: "aside" }, text), list, turn];
}
