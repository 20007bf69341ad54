"use strict";
// The page's data are read once; what a run is asked for later comes from its server, if there is
// one. Texts of people are written as text only.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const n = data.numbers.length;
  const isTable = data.columns.length > 0;
  const selection = new Set();
  const state = { facet: Math.max(data.facets.findIndex((f) => f.map), 0), colour: -1, row: 0, cluster: null };
  const swapped = [0, Math.min(1, n - 1)];
  let points = [];

  // Elements.

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  function draw(tag, attributes) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  function fill(id, ...children) { byId(id).replaceChildren(...children); }

  function fillSelect(id, names, chosen, act) {
    const select = byId(id);
    select.replaceChildren(...names.map(([value, name]) => make("option", { value: value }, name)));
    select.value = chosen;
    select.addEventListener("change", act);
  }

  function say(text, isWrong = false) {
    byId("said").textContent = text;
    byId("said").classList.toggle("wrong", isWrong);
  }

  function swatch(colour) {
    const element = make("span", { class: "swatch", "aria-hidden": "true" });
    element.style.background = colour;
    return element;
  }

  function table(caption, heads, rows, nHeads = 1) {
    const cell = (content, k) => {
      const element = make(k < nHeads ? "th" : "td", k < nHeads ? { scope: "row" } : {});
      element.append(...[content].flat());
      if (String(content).length > 20 && !(content instanceof Node)) element.className = "words";
      return element;
    };
    const head = heads.map((name) => (name === "" ? make("td") : make("th", { scope: "col" }, name)));
    return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
      make("table", {}, make("caption", {}, caption), make("thead", {}, make("tr", {}, ...head)),
        make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map(cell))))));
  }

  function note(text) { return make("p", { class: "note" }, text ?? ""); }
  function number(value) { return value === null || value === undefined ? "\u2013" : String(value); }
  function cell(c, value) { return number(data.categories[c] && value !== null ? data.categories[c][value] : value); }
  function percent(share) { return share === null ? "\u2013" : `${(100 * share).toFixed(0)} %`; }

  // Pictures, cut out of sheets.

  const loaded = new Map();
  function load(sheet) {
    if (!loaded.has(sheet)) {
      const image = new Image();
      image.src = sheet.source;
      loaded.set(sheet, image.decode().then(() => image));
    }
    return loaded.get(sheet);
  }

  function tile(sheet, i, name, size = 56) {
    const { width, height, columns } = sheet;
    const told = name ? { role: "img", "aria-label": name, title: name } : { "aria-hidden": "true" };
    const canvas = make("canvas", { width: width, height: height, ...told });
    const scale = size / Math.max(width, height);
    canvas.style.width = `${Math.round(scale * width)}px`;
    canvas.style.height = `${Math.round(scale * height)}px`;
    load(sheet).then((image) => canvas.getContext("2d").drawImage(
      image, (i % columns) * width, Math.floor(i / columns) * height, width, height, 0, 0, width, height));
    return canvas;
  }

  // Names.

  function facetName(j) { return `facet ${data.facet_names[j] ?? j}`; }
  function rowTitle(i) { return data.has_names ? data.rows[i] : `observation ${data.rows[i]}`; }
  function clusterName(j, k) { return data.names[j][k] ?? String(k); }
  function clusterTitle(j, k) { return data.names[j][k] ?? `cluster ${k}`; }
  function clusterOf(j, i) { return data.facets[j].cluster_of[i]; }
  function isClustered(j) { return data.facets[j].has_clusters; }
  const clustered = data.facets.map((_, j) => j).filter(isClustered);

  function describe(i) {
    const found = clustered.map((j) => `${facetName(j)} ${clusterTitle(j, clusterOf(j, i))}`);
    return [rowTitle(i), ...found].join(", ") + (selection.has(i) ? ", selected" : "");
  }

  // The server.

  async function ask(what, question) {
    if (what === "pairs" && data.decoded_pairs) return data.decoded_pairs[`${question.first},${question.second}`];
    const token = new URLSearchParams(location.search).get("token");
    const answer = await fetch(what, {
      method: "POST",
      headers: { "X-Token": token, "Content-Type": "application/json" },
      body: JSON.stringify(question),
    });
    if (!answer.ok) throw new Error((await answer.json()).error);
    return answer.headers.get("Content-Type").startsWith("text/csv") ? answer.blob() : answer.json();
  }

  function acting(act) {
    return async (event) => {
      event?.preventDefault();
      try {
        say("Working ...");
        say((await act()) ?? "Done.");
      } catch (error) {
        say(error instanceof TypeError ? "The server does not answer; start mfcvae explore again." : error.message, true);
      }
    };
  }

  // The map.

  function colourOf(i) {
    const facet = data.facets[state.facet];
    if (state.colour >= 0) {
      const factor = data.labels[state.colour];
      return factor.of[i] < 0 ? "#cccccc" : factor.colours[factor.of[i]];
    }
    return facet.clusters.find((c) => c.number === facet.cluster_of[i])?.colour ?? "#cccccc";
  }

  function drawMap() {
    const facet = data.facets[state.facet];
    points = [];
    byId("map-help").hidden = !facet.map;
    if (!facet.map) {
      fill("map", make("p", {}, `There is no map of ${facetName(state.facet)}: ${facet.missing}.`));
      byId("map-axes").textContent = "";
      fill("legend");
      return;
    }
    const [low, high] = facet.map.window;
    const isStrip = facet.map.axes[1] === "";
    const ratio = isStrip ? 0.6 : (high[1] - low[1]) / (high[0] - low[0]);
    const width = Math.max(Math.min(600, 600 / ratio), 250);
    const height = Math.max(Math.min(600, 600 * ratio), 250);
    const place = ([x, y]) => [
      width * (x - low[0]) / (high[0] - low[0]), height * (1 - (y - low[1]) / (high[1] - low[1]))];
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "presentation" });
    const radius = n > 300 ? 4 : 5.5;
    facet.map.points.forEach((point, i) => {
      const [x, y] = place(point);
      const mark = draw("circle", { id: `p${i}`, class: "point", role: "option", cx: x, cy: y, r: radius });
      points.push({ x: x, y: y, mark: mark });
      svg.append(mark);
    });
    if (facet.has_clusters) {
      const written = [];
      facet.map.used.forEach((k, c) => { // the largest first
        const [across, y] = place(facet.map.centers[c]);
        const room = 9 * clusterName(state.facet, k).length;
        const x = Math.max(Math.min(across, width - room / 2), room / 2);
        if (written.some((other) => Math.abs(other.y - y) < 16 && Math.abs(other.x - x) < (room + other.room) / 2)) return;
        written.push({ x: x, y: y, room: room });
        const text = draw("text", { class: "center", x: x, y: y, "text-anchor": "middle", "aria-hidden": "true" });
        text.textContent = clusterName(state.facet, k);
        svg.append(text);
      });
    }
    const box = make("div", {
      id: "points", role: "listbox", tabindex: "0", "aria-multiselectable": "true",
      "aria-label": `Map of ${facetName(state.facet)}: ${n} observations`, "aria-describedby": "map-help",
      onkeydown: onKey,
    });
    box.append(svg);
    listen(svg, width, height);
    fill("map", box);
    byId("map-axes").textContent = `Across: ${facet.map.axes[0]}. Up: ${facet.map.axes[1] || "no meaning"}.` +
      (facet.has_clusters ? " A cluster's name stands at its mean" : "") +
      (facet.has_clusters && facet.at_zero ? ", where the facet that it depends on is 0." : facet.has_clusters ? "." : "");
    drawLegend();
    mark();
  }

  function drawLegend() {
    const facet = data.facets[state.facet];
    const items = state.colour >= 0
      ? data.labels[state.colour].classes.map((name, c) => [data.labels[state.colour].colours[c], name])
      : facet.has_clusters ? facet.clusters.map((c) => [c.colour, clusterTitle(state.facet, c.number)]) : [];
    fill("legend", ...items.map(([colour, name]) => make("li", {}, swatch(colour), name)));
  }

  function mark() {
    points.forEach(({ mark: circle }, i) => {
      circle.setAttribute("fill", colourOf(i));
      circle.setAttribute("aria-label", describe(i));
      circle.setAttribute("aria-selected", String(selection.has(i)));
      circle.classList.toggle("faint", state.cluster !== null && clusterOf(state.facet, i) !== state.cluster);
      circle.classList.toggle("selected", selection.has(i));
      circle.classList.toggle("current", i === state.row);
    });
    byId("points")?.setAttribute("aria-activedescendant", `p${state.row}`);
  }

  function onKey(event) {
    const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === " " || event.key === "Enter") toggle(state.row);
    else if (event.key === "Home") choose(0);
    else if (event.key === "End") choose(n - 1);
    else if (direction) {
      const from = points[state.row];
      let best = -1, least = Infinity;
      points.forEach(({ x, y }, i) => {
        const along = (x - from.x) * direction[0] + (y - from.y) * direction[1];
        const across = Math.abs((x - from.x) * direction[1]) + Math.abs((y - from.y) * direction[0]);
        if (i !== state.row && along > 0 && along + 3 * across < least) { best = i; least = along + 3 * across; }
      });
      if (best >= 0) choose(best);
    } else return;
    event.preventDefault();
  }

  function listen(svg, width, height) {
    let start = null, frame = null;
    const at = (event) => {
      const box = svg.getBoundingClientRect();
      const scale = Math.min(box.width / width, box.height / height);
      return [(event.clientX - box.left - (box.width - scale * width) / 2) / scale,
        (event.clientY - box.top - (box.height - scale * height) / 2) / scale];
    };
    const nearest = ([x, y]) => {
      let best = -1, least = 24 ** 2;
      points.forEach((p, i) => {
        const far = (p.x - x) ** 2 + (p.y - y) ** 2;
        if (far < least) { best = i; least = far; }
      });
      return best;
    };
    svg.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse") { start = at(event); svg.setPointerCapture(event.pointerId); }
    });
    svg.addEventListener("pointermove", (event) => {
      const here = at(event);
      if (start && Math.hypot(here[0] - start[0], here[1] - start[1]) > 6) {
        frame ??= svg.appendChild(draw("rect", { class: "drawn" }));
        frame.setAttribute("x", Math.min(start[0], here[0]));
        frame.setAttribute("y", Math.min(start[1], here[1]));
        frame.setAttribute("width", Math.abs(here[0] - start[0]));
        frame.setAttribute("height", Math.abs(here[1] - start[1]));
      }
      if (event.pointerType === "mouse") hover(frame ? -1 : nearest(here), event);
    });
    svg.addEventListener("pointerup", (event) => {
      const here = at(event);
      if (frame) {
        const [x, y] = [[start[0], here[0]].sort((a, b) => a - b), [start[1], here[1]].sort((a, b) => a - b)];
        points.forEach((p, i) => {
          if (p.x >= x[0] && p.x <= x[1] && p.y >= y[0] && p.y <= y[1]) selection.add(i);
        });
        frame.remove();
        drawSelection();
      } else if (nearest(here) >= 0) choose(nearest(here));
      start = frame = null;
    });
    svg.addEventListener("pointercancel", () => { frame?.remove(); start = frame = null; });
    svg.addEventListener("pointerleave", () => hover(-1));
  }

  function hover(i, event) {
    const box = byId("hover");
    box.hidden = i < 0;
    if (i < 0) return;
    const parts = [make("p", {}, make("strong", {}, rowTitle(i)))];
    if (!isTable) parts.push(tile(data.shown.sheet, i, "", 96));
    parts.push(...clustered.map((j) => make("p", {}, `${facetName(j)}: ${clusterTitle(j, clusterOf(j, i))}`)));
    if (isTable) parts.push(...data.columns.slice(0, 8).map((name, c) => make("p", {}, `${name}: ${cell(c, data.shown.values[i][c])}`)));
    box.replaceChildren(...parts);
    box.style.left = `${Math.min(event.clientX + 16, innerWidth - box.offsetWidth - 8)}px`;
    box.style.top = `${Math.min(event.clientY + 16, innerHeight - box.offsetHeight - 8)}px`;
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hover(-1); });

  // One observation.

  function choose(i) {
    state.row = i;
    drawObservation();
    mark();
  }

  function find() {
    const text = byId("find-text").value.trim();
    const exact = data.rows.indexOf(text);
    const i = exact >= 0 || !text ? exact : data.rows.findIndex((row) => row.includes(text));
    if (i < 0) throw new Error(`No observation on the map is called ${text}.`);
    choose(i);
    return `${describe(i)}.`;
  }

  function toggle(i) {
    if (!selection.delete(i)) selection.add(i);
    drawSelection();
  }

  function drawObservation() {
    const i = state.row;
    const isSelected = selection.has(i);
    const parts = [make("h3", {}, rowTitle(i))];
    if (!isTable) parts.push(tile(data.shown.sheet, i, rowTitle(i), 192));
    parts.push(make("div", { class: "controls" }, make("button", {
      type: "button", id: "observation-select", "aria-pressed": String(isSelected), onclick: () => toggle(i),
    }, isSelected ? "Selected" : "Select")));
    if (clustered.length) {
      const rows = clustered.map((j) => [facetName(j), clusterButton(j, clusterOf(j, i)), percent(data.facets[j].sure[i])]);
      parts.push(table("Its clusters", ["", "cluster", "probability"], rows));
    }
    if (data.labels.length) {
      const rows = data.labels.map((factor) => [factor.name, factor.of[i] < 0 ? "\u2013" : factor.classes[factor.of[i]]]);
      parts.push(table("Its labels", ["", "class"], rows));
    }
    if (isTable) {
      const rest = data.n_columns - data.columns.length;
      const rows = data.columns.map((name, c) => [name, cell(c, data.shown.values[i][c])]);
      parts.push(table(rest ? `Columns that clusters tell most of, ${rest} more not shown` : "Columns", ["", "value"], rows));
    }
    fill("observation", ...parts);
  }

  function clusterButton(j, k) {
    const colour = data.facets[j].clusters.find((c) => c.number === k)?.colour ?? "#cccccc";
    const isPressed = state.facet === j && state.cluster === k;
    return make("button", {
      type: "button", "aria-pressed": String(isPressed), "data-facet": j, "data-cluster": k,
      onclick: () => { pick(j, isPressed ? null : k); },
    }, swatch(colour), clusterName(j, k));
  }

  function pick(j, k) {
    const focused = document.activeElement?.dataset;
    const where = document.activeElement?.closest("section")?.id;
    state.cluster = k;
    if (j !== state.facet) { state.facet = j; byId("facet").value = j; }
    drawAll();
    if (focused?.cluster && where) { // the button was made anew
      document.querySelector(`#${where} [data-facet="${focused.facet}"][data-cluster="${focused.cluster}"]`)?.focus();
    }
  }

  // Clusters.

  function drawClusters() {
    const j = state.facet;
    const facet = data.facets[j];
    if (!facet.has_clusters) {
      fill("clusters", make("p", {}, `${facetName(j)} has no clusters.`));
      fill("cluster");
      return;
    }
    const hasAbout = facet.clusters.some((c) => c.about);
    const heads = ["cluster", "observations", "share", "sure",
      ...(isTable ? ["what sets it apart"] : ["the model draws at its mean"]), ...(hasAbout ? ["labels"] : []), "typical"];
    let place = 0;
    const typical = (c) => isTable ? c.typical.join(", ")
      : make("span", { class: "thumbs" }, ...c.typical.map((name) => tile(facet.typical.sheet, place++, name, 48)));
    const rows = facet.clusters.map((c, row) => [
      clusterButton(j, c.number), String(c.size), percent(c.share), percent(c.sure),
      isTable ? c.apart : tile(facet.means.sheet, row, `mean of ${clusterTitle(j, c.number)}`, 48),
      ...(hasAbout ? [c.about] : []), typical(c)]);
    const made = table(`Clusters of ${facetName(j)} that have observations. Sure: mean probability of the cluster.` +
      (isTable ? " Apart: difference of means in standard deviations." : ""), heads, rows);
    made.querySelector("table").classList.add("text");
    fill("clusters", made);
    drawCluster();
  }

  function drawCluster() {
    const { facet: j, cluster: k } = state;
    if (k === null) {
      fill("cluster", make("p", { class: "note" }, "Choose a cluster to see its observations."));
      return;
    }
    const own = data.numbers.map((_, i) => i).filter((i) => clusterOf(j, i) === k)
      .sort((a, b) => data.facets[j].sure[b] - data.facets[j].sure[a]);
    const parts = [make("h3", {}, `Observations of ${clusterTitle(j, k)}`)];
    if (data.is_live) {
      const input = make("input", { id: "cluster-name", maxlength: "60", autocomplete: "off" });
      input.value = data.names[j][k] ?? "";
      parts.push(make("form", { class: "controls", onsubmit: acting(() => keepName(j, k, input.value)) },
        make("label", {}, `Name of cluster ${k} `, input), make("button", {}, "Keep the name")));
    }
    const most = 60;
    parts.push(make("p", { class: "note" }, `${own.length} on the map, the surest first${own.length > most ? `, of which ${most} are shown` : ""}.`));
    parts.push(make("div", { class: "controls" }, make("button", {
      type: "button", onclick: () => { own.forEach((i) => selection.add(i)); drawSelection(); },
    }, `Select all ${own.length}`)));
    parts.push(own.length ? members(own.slice(0, most), `Observations of ${clusterTitle(j, k)}`, j, k) : make("p", {}, "None is on the map."));
    fill("cluster", ...parts);
  }

  function members(rows, caption, j, k) {
    const button = (i, ...more) => make("button", { type: "button", onclick: () => choose(i) }, ...more, data.rows[i]);
    if (!isTable) {
      return make("ul", { class: "tiles", "aria-label": caption },
        ...rows.map((i) => make("li", {}, button(i, tile(data.shown.sheet, i, "", 56)))));
    }
    const columns = k === null ? data.columns.map((_, c) => c).slice(0, 6)
      : data.facets[j].clusters.find((c) => c.number === k).columns;
    return table(caption, ["observation", ...columns.map((c) => data.columns[c])],
      rows.map((i) => [button(i), ...columns.map((c) => cell(c, data.shown.values[i][c]))]));
  }

  function drawFacetName() {
    const input = make("input", { id: "facet-name", maxlength: "60", autocomplete: "off" });
    input.value = data.facet_names[state.facet] ?? "";
    fill("facet-name-form", make("label", {}, `Name of facet ${state.facet} `, input), make("button", {}, "Keep the name"));
  }

  async function keepFacetName() {
    const [j, name] = [state.facet, byId("facet-name").value];
    await ask("name-facet", { facet: j, name: name });
    if (name.trim()) data.facet_names[j] = name.trim();
    else delete data.facet_names[j];
    for (const id of ["facet", "traverse-facet", "swap-facet"]) byId(id).options[j].textContent = facetName(j);
    data.pairs.forEach((pair, at) => { byId("pair").options[at].textContent = pairName(pair); });
    drawAll();
    byId("facet-name").focus();
    return name.trim() ? `Facet ${j} is called ${name.trim()}.` : `Facet ${j} has no name.`;
  }

  async function keepName(j, k, name) {
    await ask("name", { facet: j, cluster: k, name: name });
    if (name.trim()) data.names[j][k] = name.trim();
    else delete data.names[j][k];
    drawAll();
    byId("cluster-name").focus();
    return name.trim() ? `Cluster ${k} of ${facetName(j)} is called ${name.trim()}.` : `Cluster ${k} of ${facetName(j)} has no name.`;
  }

  // Pairs of clusters.

  function pairName([i, j]) { return `${facetName(i)} and ${facetName(j)}`; }

  let pairs = null;
  async function loadPairs() {
    const [first, second] = data.pairs[byId("pair").value];
    pairs = await ask("pairs", { first: first, second: second });
    if (isTable) byId("pair-column").value = mostChanged(pairs.decoded.values)[0];
    drawPairs();
    return "";
  }

  function drawPairs() {
    if (!pairs) return;
    const [first, second] = data.pairs[byId("pair").value];
    const column = Number(byId("pair-column").value);
    const values = pairs.decoded.values?.map((row) => row[column]);
    const known = values?.filter((v) => v !== null) ?? [];
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const rows = pairs.rows.map((k, r) => [clusterName(first, k), ...pairs.columns.map((m, c) => {
      const i = r * pairs.columns.length + c;
      if (!values) return tile(pairs.decoded.sheet, i, `${clusterTitle(first, k)} and ${clusterTitle(second, m)}`, 56);
      const element = make("span", { class: "shade" }, cell(column, values[i]));
      element.style.setProperty("--share", `${high > low ? Math.round(100 * (values[i] - low) / (high - low)) : 0}%`);
      return element;
    })]);
    const what = values ? `${data.columns[column]} at the means` : "What the model draws at the means";
    fill("pairs", table(`${what}: clusters of ${facetName(first)} down, of ${facetName(second)} across`,
      ["", ...pairs.columns.map((m) => clusterName(second, m))], rows), note(pairs.note));
  }

  // Interventions, which need the server.

  function shownAs(decoded, i, name) {
    if (decoded.sheet) return tile(decoded.sheet, i, name, 96);
    return table(name, ["", "value"], data.columns.map((column, c) => [column, cell(c, decoded.values[i][c])]));
  }

  async function traverse() {
    const [i, j] = [state.row, Number(byId("traverse-facet").value)];
    const found = await ask("traverse", { row: data.numbers[i], facet: j });
    const middle = found.offsets.indexOf(0);
    fill("traverse", make("h3", {}, `${rowTitle(i)}, ${facetName(j)}`), note(found.note), ...found.dimensions.map(({ dimension, decoded }) => {
      const view = make("div");
      const output = make("output");
      const name = `dimension ${dimension}`;
      const input = make("input", { type: "range", min: "0", max: String(found.offsets.length - 1), step: "1" });
      const changed = decoded.values && mostChanged(decoded.values);
      const update = () => {
        const step = found.offsets[input.value];
        output.textContent = `${step > 0 ? "+" : ""}${step} sd`;
        input.setAttribute("aria-valuetext", `${step} standard deviations`);
        if (decoded.sheet) view.replaceChildren(tile(decoded.sheet, Number(input.value), `${rowTitle(i)}, ${name} moved by ${step}`, 96));
        else view.replaceChildren(...changed.map((c) => make("p", {}, `${data.columns[c]}: ${cell(c, decoded.values[input.value][c])}`)));
      };
      input.value = String(middle);
      input.addEventListener("input", update);
      update();
      return make("div", { class: "slider" }, view, make("label", {}, name, input, output));
    }));
    return `${rowTitle(i)} can be moved in ${found.dimensions.length} dimensions.`;
  }

  function mostChanged(values) {
    const ranges = data.columns.map((_, c) => {
      const own = values.map((row) => row[c]);
      if (data.categories[c]) return Number(new Set(own).size > 1);
      const all = data.shown.values.map((row) => row[c]).filter((v) => v !== null);
      return (Math.max(...own) - Math.min(...own)) / ((Math.max(...all) - Math.min(...all)) || 1);
    });
    return ranges.map((_, c) => c).sort((a, b) => ranges[b] - ranges[a]).slice(0, 4);
  }

  async function swap() {
    const j = Number(byId("swap-facet").value);
    const [first, second] = swapped;
    const found = await ask("swap", { first: data.numbers[first], second: data.numbers[second], facet: j });
    const decoded = found.decoded;
    const [a, b] = [rowTitle(first), rowTitle(second)];
    const names = [a, b, `${a} with ${facetName(j)} of ${b}`, `${b} with ${facetName(j)} of ${a}`];
    if (decoded.sheet) {
      fill("swap", make("ul", { class: "tiles whole" }, ...names.map((name, i) =>
        make("li", {}, make("figure", {}, tile(decoded.sheet, i, name, 112), make("figcaption", {}, name))))), note(found.note));
    } else {
      fill("swap", table(`${a} and ${b} with ${facetName(j)} exchanged`, ["", ...names],
        data.columns.map((column, c) => [column, ...names.map((_, i) => cell(c, decoded.values[i][c]))])), note(found.note));
    }
    return `${facetName(j)} is exchanged.`;
  }

  function drawSwapped() {
    byId("swap-which").textContent = `First: ${rowTitle(swapped[0])}. Second: ${rowTitle(swapped[1])}.`;
  }

  // The selection.

  function drawSelection() {
    const rows = [...selection].sort((a, b) => a - b);
    const most = 60;
    byId("selection-clear").disabled = !rows.length;
    if (data.is_live) byId("selection-save").disabled = !rows.length;
    const told = rows.length > most ? `${rows.length} observations, of which ${most} are shown.` : `${rows.length} observations.`;
    fill("selection", make("p", {}, rows.length ? told : "Nothing is selected."),
      ...(rows.length ? [members(rows.slice(0, most), "Selected observations", state.facet, null)] : []));
    const button = byId("observation-select");
    const hadFocus = document.activeElement === button;
    drawObservation();
    if (hadFocus) byId("observation-select").focus();
    mark();
    say(`${rows.length} selected.`);
  }

  async function save() {
    const blob = await ask("table", { rows: [...selection].sort((a, b) => a - b).map((i) => data.numbers[i]) });
    const link = make("a", { href: URL.createObjectURL(blob), download: `${data.run}-selection.csv` });
    link.click();
    URL.revokeObjectURL(link.href);
    return `${selection.size} observations are saved.`;
  }

  // All of it.

  function drawAll() {
    drawMap();
    if (data.is_live) drawFacetName();
    drawObservation();
    drawClusters();
    drawPairs();
  }

  const facets = data.facets.map((_, j) => [j, facetName(j)]);
  const part = n < data.n_observations ? `${n} of ${data.n_observations} held-out observations, evenly spread` : `${n} held-out observations`;
  byId("about").textContent = `${data.facets.length === 1 ? "1 facet" : `${data.facets.length} facets`}, ${part}`;
  fillSelect("facet", facets, state.facet, () => { state.facet = Number(byId("facet").value); state.cluster = null; drawAll(); });
  fillSelect("colour", [[-1, "clusters"], ...data.labels.map((factor, f) => [f, factor.name])], -1, () => {
    state.colour = Number(byId("colour").value);
    drawLegend();
    mark();
  });
  byId("find").addEventListener("submit", acting(find));
  byId("selection-clear").addEventListener("click", () => { selection.clear(); drawSelection(); });
  const shownPairs = data.decoded_pairs ? data.pairs.filter((pair) => data.decoded_pairs[pair]) : data.pairs;
  data.pairs = shownPairs;
  if (shownPairs.length) {
    byId("pair-column-label").hidden = !isTable;
    fillSelect("pair", shownPairs.map((pair, at) => [at, pairName(pair)]), 0, acting(loadPairs));
    fillSelect("pair-column", data.columns.map((name, c) => [c, name]), 0, drawPairs);
  } else document.querySelectorAll(".needs-pairs").forEach((element) => { element.hidden = true; });
  if (data.is_live) {
    fillSelect("traverse-facet", facets, state.facet, () => {});
    byId("traverse-go").addEventListener("click", acting(traverse));
    fillSelect("swap-facet", facets, state.facet, () => {});
    byId("swap-missing").hidden = !data.swaps;
    byId("swap-missing").textContent = `Nothing can be swapped: ${data.swaps}.`;
    byId("swap-tools").hidden = Boolean(data.swaps);
    byId("swap-first").addEventListener("click", () => { swapped[0] = state.row; drawSwapped(); });
    byId("swap-second").addEventListener("click", () => { swapped[1] = state.row; drawSwapped(); });
    byId("swap-go").addEventListener("click", acting(swap));
    byId("selection-save").addEventListener("click", acting(save));
    byId("facet-name-form").addEventListener("submit", acting(keepFacetName));
    drawSwapped();
  }
  drawAll();
  drawSelection();
  say("");
  if (shownPairs.length) acting(loadPairs)();
})();
