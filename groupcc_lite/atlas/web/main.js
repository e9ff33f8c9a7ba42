/* The page: what is chosen, what is shown, and the address that says so. */
"use strict";

const at = (id) => document.getElementById(id);
const state = { table: null, row: -1, fromMap: false, symmetries: new Set(), family: "", wanted: null };
const maps = {};
let facts;

async function begin() {
  if (!window.d3) throw new Error("d3, the library that draws it, could not be loaded");
  facts = await loadData("atlas");
  for (const kind of Object.keys(facts.maps)) {
    const table = new Table(await loadData(kind), facts);
    maps[kind] = new FeatureMap(at(`map-${kind}`), table, { hover, choose, walk });
    // An SAE's share is of the one block that it sees, so the two are no rivals.
    const { metrics } = table, of = kind === "sae" ? "its one block" : `all ${facts.group.order} blocks`;
    at(`map-${kind}`).querySelector(".stats").textContent = `${plural(table.count, "feature")}, `
      + `${metrics.l0.toFixed(0)} active at a time; explains ${percent(metrics.fve)} of the variance of ${of} (held-out images)`;
  }
  if (framed) at("keys").append(" Inside this page the wheel scrolls; with Ctrl it zooms.");
  controls();
  recolourMaps();
  theme.listeners.push(() => { sayTheme(); recolourMaps(); showDetail(); });
  window.addEventListener("hashchange", follow);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && !event.target.matches("input, select")) release(); });
  // A link to a feature opens at its details, also where they lie below the maps.
  state.fromMap = location.hash !== "" && !framed;
  follow();
}

function fail(error) {
  at("problem").hidden = false;
  at("problem").textContent = `The atlas cannot be shown: ${error.message}. The command groupcc atlas makes it anew.`;
}

const say = (text) => { at("live").textContent = text; };

/* ------------------------------------------------------------------------------------------------- what is chosen */

/* The address is the only way to choose, so that links, back and forward do the same as a click. */
function choose(map, row) {
  const hash = map.table.hash(row);
  state.fromMap = true;
  if (location.hash === hash) follow();
  else location.hash = hash;
}

function release() {
  if (state.row < 0) return;
  history.pushState(null, "", location.pathname + location.search);
  follow();
}

function follow() {
  const found = /^#(f|sae)\/(\d+)$/.exec(location.hash);
  const table = found && maps[found[1] === "f" ? "crosscoder" : "sae"].table;
  const row = table?.rows.get(Number(found[2])) ?? -1;
  Object.assign(state, { table: row < 0 ? null : table, row });
  for (const map of Object.values(maps)) map.choose(map.table === table ? row : -1);
  showDetail();
  // In one column the details lie below the map that was tapped.
  if (state.fromMap && matchMedia("(max-width: 899px)").matches) {
    at("detail").scrollIntoView({ behavior: still() ? "auto" : "smooth" });
  }
  state.fromMap = false;
  if (row >= 0) say(`Chosen: ${summary(table, row)}`);
  else if (found) {
    const text = Number(found[2]) < table.latents ? "never fires on the held-out images, so it is not on the map"
      : `does not exist; numbers go from 0 to ${table.latents - 1}`;
    say(`Feature ${found[2]} ${text}.`);
    at("detail").prepend(make("p", { class: "notice" }, `Feature ${found[2]} ${text}.`));
  } else say("No feature is chosen.");
}

function summary(table, row) {
  const parts = [`${table.hasBlocks ? "feature" : "SAE feature"} ${table.features[row]}`];
  if (table.hasBlocks) parts.push(`symmetry: ${named(table.label(row))}${table.doubtful(row) ? ", doubtful" : ""}`);
  if (table.drawn(row)) parts.push(`prefers ${table.drawn(row)}`);
  parts.push(`fires on ${percent(table.frequency[row])}`);
  return parts.join(", ");
}

function walk(map, row) { say(summary(map.table, row)); }

/* The card beside the pointer, or beside the keyboard's cursor. */
function hover(map, row, x, y) {
  const card = at("card");
  card.hidden = row < 0;
  if (row < 0) return;
  const { table } = map, key = table.hash(row);
  if (card.dataset.shows !== key) {
    card.dataset.shows = key;
    card.replaceChildren(picture(table, row, 132), make("strong", {}, `${table.hasBlocks ? "" : "SAE "}${table.features[row]}`),
      make("span", {}, [table.label(row) && named(table.label(row)), table.doubtful(row) && "doubtful", table.drawn(row)].filter(Boolean).join(" · ")),
      make("span", {}, `fires on ${percent(table.frequency[row])}`));
  }
  const box = map.box.getBoundingClientRect(), right = box.left + x + 30 + card.offsetWidth < innerWidth;
  card.style.left = `${scrollX + box.left + x + (right ? 30 : -30 - card.offsetWidth)}px`;
  const top = Math.min(Math.max(box.top + y - card.offsetHeight / 2, 8), innerHeight - card.offsetHeight - 8);
  card.style.top = `${scrollY + top}px`;
}

/* ------------------------------------------------------------------------------------------------- the detail */

function showDetail() {
  const { table, row } = state;
  at("detail").replaceChildren(...(row >= 0 ? (table.hasBlocks ? feature : saeFeature)(table, row)
    : isFiltered() ? filtered() : introduction()));
  at("detail").scrollTop = 0;
}

function heading(table, row) {
  const number = table.features[row], step = (by) => table.features[(row + by + table.count) % table.count];
  const link = (by, text, says) => make("a", { href: `#${table.hasBlocks ? "f" : "sae"}/${step(by)}`, "aria-label": `${says}: ${step(by)}`, class: "step" }, text);
  return make("div", { class: "heading" },
    make("h2", {}, `${table.hasBlocks ? "Feature" : "SAE feature"} ${number}`),
    link(-1, "‹", "Previous feature"), link(1, "›", "Next feature"),
    make("button", { type: "button", class: "step close", "aria-label": "Let go of this feature", onclick: () => { release(); at("detail").focus({ preventScroll: true }); } }, "×"));
}

function common(table, row) {
  const family = table.family[row], members = family < 0 ? 0 : table.family.filter((other) => other === family).length;
  const button = family < 0 ? "none" : make("button", { type: "button", class: "link", onclick: () => showFamily(`${table.kind}/${family}`) },
    `${family}, ${members} in it`);
  return [["Fires on", percent(table.frequency[row])], ["Family", button],
          ["Drawing", table.drawn(row) ?? "not clear"]];
}

function list(entries) {
  return make("dl", {}, ...entries.flatMap(([term, value]) => [make("dt", {}, term), make("dd", {}, value)]));
}

function feature(table, row) {
  const { group } = facts, { profile, name } = table.reading(row);
  const subgroup = facts.subgroups[table.subgroup[row]];
  const image = picture(table, row, 168), says = make("output", { for: "element" });
  const slider = make("input", { type: "range", id: "element", min: 0, max: group.order - 1, step: 1, value: 0 });
  const turn = (h) => {
    const { transform, filter } = moved(group, h);
    Object.assign(image.style, { transform, filter });
    slider.value = h;
    slider.setAttribute("aria-valuetext", `${group.elements[h]}, ${name === "c" ? "cosine" : "centred cosine"} ${decimals(profile[h])}`);
    says.textContent = `${pretty(group.elements[h])}   ${name} = ${decimals(profile[h])}`;
    for (const dot of at("detail").querySelectorAll("[data-element]")) {
      dot.classList.toggle("now", Number(dot.dataset.element) === h);
    }
  };
  slider.addEventListener("input", () => turn(Number(slider.value)));
  queueMicrotask(() => turn(0));
  const doubtful = table.doubtful(row) ? make("span", { class: "doubt" }, "doubtful") : null;
  const symmetry = make("span", {}, make("small", {}, "Stabiliser"), make("strong", {}, named(subgroup.label)),
    subgroup.label === "none" ? "No element but the identity leaves it as it is." : `Left as it is by ${subgroup.words}.`);
  return [heading(table, row),
    make("div", { class: "first" },
      make("div", { class: "stage" }, make("div", { class: "frame" }, image),
        make("label", { for: "element" }, "Move it by ", says), slider),
      make("div", {},
        make("div", { class: "kept" }, symmetry, marginScale(table, row),
          make("small", {}, `Margin ${decimals(table.margin[row])}`, help("Margin"), doubtful)),
        list([...common(table, row),
              ["Equivariance", make("span", {}, decimals(table.equivariance[row]), help("Equivariance"))]]))),
    ...relativesOf(table, row),
    make("h3", {}, "How sure is the label?"),
    worth(table, row),
    make("h3", {}, "Under every element"),
    make("div", { class: "pair" }, ...profiles(table, row, turn)),
    make("p", { class: "aside", id: "reads" }, readsProfile(table, row)),
    make("div", { class: "pair uneven" }, heatmap(table, row), spectrum(table, row))].filter(Boolean);
}

/* What the plot of the profile shows. */
function readsProfile(table, row) {
  const { name, tau, whole } = table.reading(row), cosine = `the cosine ${name}(h) of the feature with itself moved by h`;
  const where = facts.group.circle === null ? "Height" : "Distance from the centre";
  const range = facts.group.circle === null ? "" : ", from −1 to 1 at the rim", end = `Dashed: the threshold ${tau}. Filled: the stabiliser.`;
  if (!table.isJudged) return `${where}: ${cosine}${range}, not centred: these data were made with an earlier rule. ${end}`;
  if (whole) return `${where}: ${cosine}${range}, not centred, because that is what makes a feature invariant. ${end}`;
  return `${where}: the centred profile ${name}(h)${range}: ${cosine.replace(` ${name}(h)`, "")}, without the part that is the same for every element. ${end}`;
}

function saeFeature(table, row) {
  return [heading(table, row),
    make("div", { class: "first" }, make("div", { class: "stage" }, make("div", { class: "frame" }, picture(table, row, 168))), list(common(table, row))),
    make("p", {}, "A sparse autoencoder writes one block for each feature, not one for each element of the group. There is no heatmap, profile, spectrum or stabiliser to show: this is what the crosscoder adds."),
    ...relativesOf(table, row)];
}

/* How many of the two tests a label has passed. */
const proofs = (table, row) => !table.isJudged ? 0 : (table.confirmed[row] > 0 ? 1 : 0)
  + (table.rate[row] >= 0 && table.supported[row] === table.subgroup[row] ? 1 : 0);

/* Before anything is chosen: what can be seen here, and a few features to begin with. */
function introduction() {
  const { table } = maps.crosscoder, best = new Map();
  for (let row = 0; row < table.count; row++) {
    const label = table.label(row), score = table.margin[row] + (table.picture[row] >= 0 ? 4 : 0) + proofs(table, row);
    if (score > (best.get(label)?.score ?? -9)) best.set(label, { row, score });
  }
  const closest = withClosestRelatives(table);
  const example = (row, text) => make("li", {}, make("a", { href: table.hash(row) },
    hidden(picture(table, row, 64, "small")), make("span", { class: "unseen" }, `Feature ${table.features[row]}: `), make("span", {}, text)));
  const examples = symmetryLabels().map((label) => example(best.get(label).row, named(label)));
  return [make("h2", {}, "Every feature, and how it turns"),
    make("p", {}, `Each point is a feature. In the map of the crosscoder, features lie close when they are alike after one of them was moved by an element of ${pretty(facts.group.name)}. In that of the autoencoder they must be alike as they are.`),
    make("p", {}, "Point at a feature to see what it looks for in an image. Choose it to see how its blocks compare, which elements leave it as it is, how often it fires, and which other features are the same one, moved."),
    make("p", {}, "The colour of a point is its symmetry. Hollow points, and pictures with a broken ring, have one that is doubtful."),
    make("h3", {}, "To begin with"),
    make("p", { class: "aside" }, "The feature with the closest relatives, and for each symmetry the one whose label is surest."),
    make("ul", { class: "relatives examples" }, example(closest, "relatives"), ...examples)];
}

function withClosestRelatives(table) {
  const alike = (row) => table.picture[row] < 0 ? -1 : d3.mean(table.part(table.relative_cosine, row).subarray(0, 4));
  return d3.maxIndex(d3.range(table.count), alike);
}

const LISTED = 60;  // more pictures than that nobody looks at

/* While filters are on and nothing is chosen: the features that are left, the surest first. */
function filtered() {
  const left = Object.values(maps).map(({ table, shown }) => [d3.sum(shown), table.count]);
  if (left.every(([some]) => some === 0)) return [make("h2", {}, "No feature is left"), make("p", {}, "None passes all filters at once.")];
  if (left.every(([some, all]) => some === all)) return introduction();
  return Object.values(maps).flatMap(({ table, shown }) => {
    const sure = (row) => (table.picture[row] >= 0 ? 8 : 0) + (table.hasBlocks ? 2 * proofs(table, row) + table.margin[row] : table.frequency[row]);
    const rows = d3.range(table.count).filter((row) => shown[row]).sort((a, b) => sure(b) - sure(a));
    if (!rows.length || rows.length === table.count) return [];  // the filter is about the other map
    const item = (row) => make("li", {}, make("a", { href: table.hash(row) }, hidden(picture(table, row, 64, "small")),
      make("span", { class: "unseen" }, `${table.hasBlocks ? "Feature" : "SAE feature"} `), make("span", { class: "number" }, String(table.features[row])),
      table.doubtful(row) ? make("span", { class: "doubt" }, "doubtful") : null));
    const doubtful = rows.filter((row) => table.doubtful(row)).length;
    const more = rows.length > LISTED ? ` The first ${LISTED}:` : "";
    return [make("h2", {}, `${plural(rows.length, table.hasBlocks ? "feature" : "SAE feature")}`),
      table.hasBlocks ? make("p", { class: "aside" }, `The surest first; ${doubtful} doubtful.${more}`) : make("p", { class: "aside" }, `The most frequent first.${more}`),
      make("ul", { class: "relatives examples" }, ...rows.slice(0, LISTED).map(item))];
  });
}

/* -------------------------------------------------------------------------------------------- filters and colours */

const isFiltered = () => state.symmetries.size > 0 || state.family !== "" || state.wanted !== null;

/* Labels of the stabilisers that occur, small subgroups first. */
function symmetryLabels() {
  const size = new Map();
  for (const k of new Set(maps.crosscoder.table.subgroup)) size.set(facts.subgroups[k].label, facts.subgroups[k].elements.length);
  return [...size.keys()].sort((a, b) => size.get(a) - size.get(b));
}

function controls() {
  const { table } = maps.crosscoder, counts = d3.rollup(d3.range(table.count), (rows) => rows.length, (row) => table.label(row));
  at("symmetry").replaceChildren(...symmetryLabels().map((label) => {
    const button = make("button", { type: "button", class: "chip", "aria-pressed": "false", "data-label": label,
                                    title: wordsOf(label) },
      make("span", { class: "sign" }), named(label), isTechnical(label) && wordsOf(label) ? make("small", {}, wordsOf(label)) : null,
      make("small", {}, String(counts.get(label) ?? 0)));
    button.addEventListener("click", () => {
      if (!state.symmetries.delete(label)) state.symmetries.add(label);
      refilter();
    });
    return button;
  }));
  const option = (value, text) => make("option", { value }, text);
  at("family").replaceChildren(option("", "any"), ...Object.values(maps).map(({ table: { kind, family } }) => {
    const sizes = d3.rollup(family, (members) => members.length, (number) => number);
    const numbers = [...sizes.keys()].sort((a, b) => (a < 0) - (b < 0) || a - b);
    return make("optgroup", { label: kind === "sae" ? "Sparse autoencoder" : "Crosscoder" }, ...numbers.map((number) => (
      option(`${kind}/${number}`, `${number < 0 ? "none" : number} (${sizes.get(number)})`))));
  }));
  at("number").placeholder = `${table.features[withClosestRelatives(table)]}, or 300–320`;
  at("family").addEventListener("change", () => { showFamily(at("family").value); release(); });
  at("number").addEventListener("input", () => { readNumbers(); release(); });
  at("number").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !state.wanted) return;
    const map = Object.values(maps).find(({ shown }) => shown.includes(1));
    if (map) choose(map, map.shown.indexOf(1));
  });
  at("colour").addEventListener("change", recolourMaps);
  at("reset").addEventListener("click", () => {
    state.symmetries.clear();
    at("number").value = "";
    readNumbers();
    showFamily("");
    release();
  });
  const modes = ["auto", "light", "dark"];
  at("theme").addEventListener("click", () => theme.choose(modes[(modes.indexOf(theme.mode) + 1) % 3]));
  sayTheme();
  applyFilters();
}

/* What a label means; nothing where subgroups of that name hold different elements. */
function wordsOf(label) {
  const words = new Set(Object.values(facts.subgroups).filter((subgroup) => subgroup.label === label).map(({ words: own }) => own));
  return words.size === 1 ? pretty([...words][0]) : "";
}

/* After a filter was set by hand the panel shows the features that are left. */
function refilter() {
  applyFilters();
  release();
  say(`Shown: ${at("count").textContent}`);
}

function sayTheme() { at("theme").textContent = `Theme: ${theme.mode === "auto" ? "automatic" : theme.mode}`; }

function showFamily(value) {
  state.family = at("family").value = value;
  applyFilters();
}

/* "12, 40-45" as a test of numbers; empty text wants all. */
function readNumbers() {
  const text = at("number").value.trim(), parts = text.split(/[\s,;]+/).filter(Boolean);
  const ranges = parts.map((part) => /^(\d+)(?:[-–](\d+))?$/.exec(part)).map((m) => m && [Number(m[1]), Number(m[2] ?? m[1])]);
  const wrong = ranges.includes(null);
  at("number").setAttribute("aria-invalid", String(wrong));
  state.wanted = parts.length && !wrong ? (number) => ranges.some(([low, high]) => low <= number && number <= high) : null;
  applyFilters();
}

function applyFilters() {
  const counts = [];
  for (const button of at("symmetry").children) {
    button.setAttribute("aria-pressed", String(state.symmetries.has(button.dataset.label)));
  }
  for (const map of Object.values(maps)) {
    const { table } = map, [kind, family] = state.family.split("/");
    for (let row = 0; row < table.count; row++) {
      map.shown[row] = (!state.symmetries.size || !table.hasBlocks || state.symmetries.has(table.label(row)))
        && (kind !== table.kind || table.family[row] === Number(family))
        && (!state.wanted || state.wanted(table.features[row])) ? 1 : 0;
    }
    map.arrange();
    counts.push(`${table.hasBlocks ? "" : "SAE "}${d3.sum(map.shown)} of ${table.count}`);
  }
  at("count").textContent = counts.join(" · ");
  if (state.row < 0) showDetail();
}

/* A feature's class under the colour that was chosen: a number, or -1 for none. */
function classes(table) {
  const labels = symmetryLabels();
  return {
    symmetry: (row) => table.hasBlocks ? labels.indexOf(table.label(row)) - (labels[0] === "none" ? 1 : 0) : -1,
    family: (row) => table.family[row],
    drawing: (row) => table.drawing[row],
  }[at("colour").value];
}

function classLook(number) {
  if (number < 0) return { colour: colours.of("--none"), symbol: 0 };
  return { colour: colours.palette[number % colours.palette.length],
           symbol: (number + Math.floor(number / colours.palette.length)) % SYMBOLS.length };
}

const SHADES = 64;  // more are not told apart, and every one has a stamp

function frequencyScale(table) {
  const [low, high] = d3.extent(table.frequency.filter((share) => share > 0)), step = (t) => Math.round(t * SHADES) / SHADES;
  return d3.scaleSequentialLog([low, Math.max(high, 1.001 * low)], colours.name === "dark"
    ? (t) => d3.interpolateViridis(0.25 + 0.75 * step(t)) : (t) => d3.interpolateViridis(0.9 - 0.9 * step(t)));
}

function recolourMaps() {
  const mode = at("colour").value;
  for (const map of Object.values(maps)) {
    if (mode === "frequency") {
      const scale = frequencyScale(map.table);
      map.wear((row) => ({ colour: scale(map.table.frequency[row]), symbol: 0 }));
    } else {
      const classOf = classes(map.table), looks = new Map();
      const lookOf = (number) => looks.get(number) ?? looks.set(number, classLook(number)).get(number);
      map.wear((row) => ({ ...lookOf(classOf(row)), hollow: mode === "symmetry" && map.table.doubtful(row) }));
    }
  }
  legend(mode);
}

function sign(look) {
  const svg = d3.create("svg").attr("viewBox", "-7 -7 14 14").attr("aria-hidden", "true").attr("class", "sign");
  svg.append("path").attr("d", d3.symbol(d3[SYMBOLS[look.symbol]], 62)()).attr("fill", look.colour);
  return svg.node();
}

function legend(mode) {
  const labels = symmetryLabels(), first = labels[0] === "none" ? 1 : 0;
  for (const [k, button] of [...at("symmetry").children].entries()) {
    button.querySelector(".sign").replaceWith(mode === "symmetry" ? sign(classLook(k - first)) : make("span", { class: "sign" }));
  }
  const entries = { drawing: facts.shapes.map((name, k) => make("li", {}, sign(classLook(k)), name)),
                    family: [make("li", {}, "Families are clusters of the map; colours repeat. Grey: in none.")],
                    frequency: [make("li", {}, "rarely ", make("span", { class: `ramp ${colours.name}` }), " often, on a logarithmic scale")] }[mode];
  at("legend").hidden = !entries;
  at("legend").replaceChildren(...(entries ?? []));
}

begin().catch(fail);
