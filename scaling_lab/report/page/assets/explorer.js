"use strict";
// The explorer: points on axes of the reader's choice, the front of those that are shown, and what is known of a selected one.
// plotly.js draws the points; drawings.js makes what is shown of a selected one.
for (const holder of document.querySelectorAll(".explorer")) {
  const {css, element, face, axis, topologyOf, pictureOf, curvesOf} = drawings;
  const data = JSON.parse(holder.querySelector(":scope > script").textContent);
  if (!data.across.length) continue;  // nothing to draw points by: the table stands alone
  const table = page.tables.get(holder.dataset.table);
  const live = holder.querySelector(".live");
  const plot = holder.querySelector(".plot");
  const chosen = holder.querySelector(".chosen");
  const symbols = ["circle", "square", "diamond", "triangle-up", "triangle-down", "triangle-left", "triangle-right", "hexagon"];
  const few = data.labels.length <= 300;
  const control = (name) => live.querySelector(`[name=${name}]`);
  const fill = (name, options) => options.forEach((option, index) => control(name).add(new Option(option.label, index)));
  let kept = new Set(data.labels.keys());
  let selected = null;

  // plotly reads a few tags in its texts; names are names.
  const harmless = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const wrapped = (text) => harmless(text).replace(/(.{24}[^ ]*) /g, "$1<br>");
  const written = (value) => value === null ? "–" : Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4)));

  // --- the points ---------------------------------------------------------------------------------------------------

  const across = () => data.across[control("across").value];
  const up = () => data.up[control("up").value];
  const colouring = () => data.colours[control("colour").value];

  const frontOf = (points) => {
    const x = across().values, y = up().values;
    const sorted = [...points].sort((a, b) => x[a] - x[b] || y[b] - y[a]);
    const front = [];
    for (const index of sorted) if (!front.length || y[index] > y[front.at(-1)]) front.push(index);
    return front;
  };

  // The colour that a point has in the figure, the table and its panel.
  const colourOf = (index) => colouring() ? `series-${colouring().of[index]}` : "series-0";

  // Round numbers for a log axis, as figures.log_ticks has them; plotly's own are of two sizes.
  const ticksOf = ([from, to]) => {
    const low = 10 ** from, high = 10 ** to, found = [];
    if (high / low < 3.5) {
      const rough = (high - low) / 6, unit = 10 ** Math.floor(Math.log10(rough));
      const step = unit * [1, 2, 2.5, 5, 10].find((each) => each * unit >= rough);
      for (let tick = Math.ceil(low / step); tick * step <= high; tick++) found.push(Number((tick * step).toPrecision(6)));
      return found;
    }
    const steps = high / low < 10 ? [1, 1.5, 2, 3, 5, 7] : high / low < 200 ? [1, 2, 5] : [1];
    for (let decade = Math.floor(from); decade <= to; decade++) for (const step of steps) found.push(Number((step * 10 ** decade).toPrecision(6)));
    return found.filter((tick) => tick >= low && tick <= high);
  };
  const setTicks = () => {
    if (!across().log) return null;
    const values = ticksOf(plot._fullLayout.xaxis.range);
    return Plotly.relayout(plot, {"xaxis.tickvals": values, "xaxis.ticktext": values.map(written)});
  };

  const told = (index) => {
    const x = across(), y = up();
    const between = y.name === "ap" && data.ap_low[index] !== null ? ` [${data.ap_low[index].toFixed(1)}, ${data.ap_high[index].toFixed(1)}]` : "";
    const seeds = data.seeds[index] === 1 ? "1 seed" : `${data.seeds[index]} seeds`;
    return `<b>${wrapped(data.labels[index])}</b><br>${y.label} ${y.values[index].toFixed(1)}${between}, ${seeds}<br>${harmless(x.label)}: ${written(x.values[index])}`;
  };

  // What a reader has hidden in the legend: it stays hidden whichever groups a filter leaves, and is on no front.
  const hidden = new Set();
  let frames = 0;  // that have chosen points: plotly would show those outside the last one faintly for ever
  const groupOf = (place) => `group-${control("colour").value}-${place}`;

  const traces = () => {
    const x = across(), y = up(), ways = colouring();
    const known = [...kept].filter((index) => x.values[index] !== null && y.values[index] !== null);
    const groups = ways ? ways.names.map((name, place) => ({name, place, points: known.filter((index) => ways.of[index] === place)})) : [{name: "", place: 0, points: known}];
    const isHidden = (index) => ways && hidden.has(groupOf(ways.of[index]));
    const points = known.filter((index) => !isHidden(index));
    const colour = (place) => css(`series-${place}`);
    const found = [];
    if (x.cost) {
      const front = frontOf(points);
      // A cost buys the front's AP up to the next step; the last one's goes on to the right.
      const end = front.length ? [Math.max(...points.map((i) => x.values[i])) * 1.04] : [];
      found.push({uid: "front", mode: "lines", x: [...front.map((i) => x.values[i]), ...end], y: [...front.map((i) => y.values[i]), ...end.map(() => y.values[front.at(-1)])], line: {shape: "hv", color: css("muted"), width: 1.2}, hoverinfo: "skip", showlegend: false});
    }
    const trials = data.trials;
    if (control("seeds").checked && trials[y.name]) {
      const shown = [...trials.of.keys()].filter((t) => kept.has(trials.of[t]) && !isHidden(trials.of[t]) && x.values[trials.of[t]] !== null && trials[y.name][t] !== null);
      // A little to the left, where they hide neither the mean nor its interval.
      const least = Math.min(...points.map((i) => x.values[i])), most = Math.max(...points.map((i) => x.values[i]));
      const beside = (value) => x.log ? value * (least / most || 1) ** 0.012 : value - 0.01 * (most - least);
      found.push({
        uid: "seeds", mode: "markers", x: shown.map((t) => beside(x.values[trials.of[t]])), y: shown.map((t) => trials[y.name][t]), showlegend: false,
        marker: {size: 4, opacity: 0.55, color: shown.map((t) => colour(ways ? ways.of[trials.of[t]] : 0))},
        text: shown.map((t) => `${wrapped(data.labels[trials.of[t]])}<br>seed ${trials.seed[t]}: ${y.label} ${trials[y.name][t].toFixed(1)}`),
        customdata: shown.map((t) => trials.of[t]), hovertemplate: "%{text}<extra></extra>",
      });
    }
    const bars = few && control("intervals").checked && y.name === "ap";
    for (const {name, place, points: members} of groups) {
      if (!members.length) continue;
      found.push({
        uid: groupOf(place), visible: hidden.has(groupOf(place)) ? "legendonly" : true,
        mode: "markers", name: wrapped(name), showlegend: Boolean(ways), x: members.map((i) => x.values[i]), y: members.map((i) => y.values[i]),
        customdata: members, text: members.map(told), hovertemplate: "%{text}<extra></extra>", selectedpoints: null,
        marker: {size: few ? 10 : points.length > 2000 ? 5 : 7, symbol: symbols[place % 8], color: colour(place), opacity: few ? 1 : 0.75, line: {width: few ? 1 : 0, color: css("paper")}},
        ...(bars && {error_y: {
          type: "data", symmetric: false, thickness: 1.4, width: 0, color: colour(place),
          array: members.map((i) => data.ap_high[i] === null ? 0 : data.ap_high[i] - y.values[i]),
          arrayminus: members.map((i) => data.ap_low[i] === null ? 0 : y.values[i] - data.ap_low[i]),
        }}),
      });
    }
    if (selected !== null && kept.has(selected) && !isHidden(selected) && x.values[selected] !== null && y.values[selected] !== null) {
      found.push({uid: "selected", mode: "markers", x: [x.values[selected]], y: [y.values[selected]], hoverinfo: "skip", showlegend: false, marker: {size: 18, symbol: "circle-open", color: css("ink"), line: {width: 2}}});
    }
    return found;
  };

  // The buttons are named one by one: by itself plotly adds one that uploads the data to its makers.
  const settings = {
    responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
    modeBarButtons: [["zoom2d", "pan2d", "select2d", "lasso2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]],
  };

  const layout = () => {
    const x = across(), y = up(), narrow = innerWidth < 640;
    return {
      ...face(), height: narrow ? 380 + 22 * (colouring()?.names.length ?? 0) : 480, margin: {l: 44, r: 12, t: 34, b: 48}, hovermode: "closest", dragmode: narrow ? false : "zoom",
      uirevision: `${x.name} ${y.name}`, selectionrevision: frames,
      xaxis: {...axis(), type: x.log ? "log" : "linear", title: {text: harmless(x.label) + (x.log ? " (log scale)" : ""), standoff: 8, font: {size: 13}}, },
      yaxis: {...axis(), title: {text: ""}},
      annotations: [{text: y.label, xref: "paper", yref: "paper", x: 0, y: 1, xanchor: "left", yanchor: "bottom", yshift: 6, showarrow: false}],
      legend: {orientation: "h", x: 0, y: 0, yref: "container", yanchor: "bottom", font: {color: css("ink"), size: 12}, itemsizing: "constant"},
    };
  };

  const draw = () => {
    table.recolour(colourOf);
    const heading = chosen.querySelector("h3 .swatch");
    if (heading) heading.style.background = `var(--${colourOf(selected)})`;
    return Plotly.react(plot, traces(), layout(), settings).then(setTicks);
  };

  // --- a selected one -----------------------------------------------------------------------------------------------

  const tell = () => {
    for (const before of chosen.querySelectorAll(".curves")) Plotly.purge(before);  // or it would listen for resizing for ever
    const detail = data.details[selected];
    const swatch = element("span", {class: "swatch", style: `background:var(--${colourOf(selected)})`});
    const parts = [element("h3", {}, swatch, data.labels[selected])];
    if (!detail) {
      const y = data.up[0];
      parts.push(element("p", {class: "text"}, `${y.label} ${written(y.values[selected])}; ${data.across.map((x) => `${x.label} ${written(x.values[selected])}`).join("; ")}.`));
      parts.push(element("p", {class: "text note"}, `Drawing, curves and detections are in this page for the ${Object.keys(data.details).length} best. Its spec is specs/${data.digests[selected]}.json in the run's folder.`));
      chosen.replaceChildren(...parts);
      return;
    }
    const facts = element("dl", {class: "facts"}, ...detail.facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
    const spec = element("details", {}, element("summary", {}, "Spec as JSON"), element("pre", {tabindex: "0"}, element("code", {}, JSON.stringify(JSON.parse(detail.spec), null, 1))));
    const drawing = element("div", {class: "drawing"}, element("h4", {}, "One cell"), topologyOf(data.topologies[detail.topology]));
    parts.push(element("div", {class: "halves"}, facts, element("div", {}, drawing)));
    let curves = null;
    if (detail.curves.length) {
      curves = element("div", {class: "curves"});
      parts.push(element("h4", {}, "Learning curves, a line for each seed"), curves);
    }
    if (data.pictures.length) {
      const rows = data.pictures.map((picture, place) => pictureOf(picture, place, detail.boxes.filter(([of]) => of === place), data.classes));
      parts.push(element("h4", {}, "Detections on held-out images"), element("div", {class: "picture-row"}, ...rows),
        element("p", {class: "caption"}, `Of the lowest seed, with a score of at least ${data.threshold.toFixed(2)}: point at a box for its class and score. Dashed: ground truth.`));
    }
    chosen.replaceChildren(...parts, spec);
    if (curves) {
      const {lines, layout: panels} = curvesOf(detail.curves, colourOf(selected));
      Plotly.newPlot(curves, lines, panels, {responsive: true, displayModeBar: false});
    }
  };

  const markRow = () => {
    for (const row of table.body.querySelectorAll("[aria-current]")) row.removeAttribute("aria-current");
    if (selected !== null) table.element(selected).setAttribute("aria-current", "true");
    makeReachable();
  };
  // Tab comes to one row, the selected one where it is shown; the arrows go on from there.
  const makeReachable = () => {
    const rows = [...table.body.rows];
    const one = rows.find((row) => row.hasAttribute("aria-current")) ?? rows[0];
    for (const row of rows) row.tabIndex = row === one ? 0 : -1;
  };
  const select = (index, quietly = false) => {
    if (index === selected) return;
    selected = index;
    markRow();
    draw();
    tell();
    // From a row far down the table the panel above is out of view.
    const {top, bottom} = chosen.getBoundingClientRect();
    if (!quietly && (bottom < 80 || top > innerHeight - 80)) chosen.scrollIntoView({block: "start"});
    holder.querySelector("[role=status]").textContent = `${data.labels[index]}, AP ${written(data.up[0].values[index])}, is selected.`;
  };

  // --- what the reader does -----------------------------------------------------------------------------------------

  fill("across", data.across);
  fill("up", data.up);
  fill("colour", data.colours);
  control("colour").closest("label").hidden = data.colours.length < 2;
  control("intervals").closest("label").hidden = !few || data.ap_low.every((value) => value === null);
  control("seeds").closest("label").hidden = !data.trials.of.length;
  for (const input of live.querySelectorAll("select, input")) input.addEventListener("change", () => { draw(); if (input.name === "colour") tell(); });
  const filter = table.holder.querySelector(".filter");
  if (filter) live.querySelector(".controls").append(filter);
  live.hidden = false;

  table.holder.addEventListener("kept", (event) => {
    kept = event.detail;
    const y = data.up[0].values;
    const best = [...kept].reduce((a, b) => a === null || y[b] > y[a] ? b : a, null);
    if (kept.has(selected) || best === null) { markRow(); draw(); } else select(best, true);
  });
  // Bounds may be of what the axes and colours have, too: width>=32.
  for (const {name, label, values} of data.across) for (const each of [name.replace(/^param_/, ""), label]) table.know(each, values);
  for (const {label, names, of} of data.colours) {
    const numbers = names.map(Number);
    if (!numbers.some(Number.isNaN)) table.know(label, of.map((place) => numbers[place]));
  }
  table.body.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    const index = table.rows.findIndex((each) => each.element === row);
    if (index >= 0) select(index);
  });
  table.holder.addEventListener("shown", makeReachable);
  table.body.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr");
    const next = {ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling}[event.key];
    if (event.key === "Enter" || event.key === " ") row.click();
    else if (next) next.focus();
    else return;
    event.preventDefault();
  });
  document.addEventListener("theme", () => { draw(); if (selected !== null) tell(); });

  const all = live.querySelector(".all");
  all.addEventListener("click", () => {
    table.only = null;
    all.hidden = true;
    table.filter();
  });

  selected = data.up[0].values.indexOf(Math.max(...data.up[0].values));
  table.recolour(colourOf);
  Plotly.newPlot(plot, traces(), layout(), settings).then(setTicks).then(() => {
    plot.on("plotly_restyle", () => {
      for (const trace of plot.data) {
        if (trace.uid?.startsWith("group-")) trace.visible === "legendonly" ? hidden.add(trace.uid) : hidden.delete(trace.uid);
      }
      draw();
    });
    plot.on("plotly_relayout", (change) => { if (Object.keys(change).some((key) => key.startsWith("xaxis.range") || key === "xaxis.autorange")) setTicks(); });
    plot.on("plotly_click", (event) => { const index = event.points.map((point) => point.customdata).find((value) => value !== undefined); if (index !== undefined) select(index); });
    // The frame goes away at once: what it chose is what is shown, and plotly would choose anew at each drawing.
    plot.on("plotly_selected", (event) => {
      const found = new Set((event?.points ?? []).map((point) => point.customdata).filter((value) => value !== undefined));
      if (!found.size) return;
      frames += 1;
      Plotly.relayout(plot, {selections: []}).then(() => {
        table.only = found;
        all.hidden = false;
        table.filter();
      });
    });
  });
  markRow();
  tell();
}
