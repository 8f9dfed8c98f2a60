"use strict";
// What the explorer draws of one architecture: its topology, boxes on pictures, its curves. It knows neither table nor points.
const drawings = (() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const drawn = (name, attributes = {}, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };

  // plotly's colours and type, which it does not take from the style sheet.
  const face = () => ({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: {family: getComputedStyle(document.body).fontFamily, size: 13, color: css("muted")},
    hoverlabel: {bgcolor: css("paper"), bordercolor: css("rest"), font: {color: css("ink"), size: 13}, align: "left"},
    modebar: {bgcolor: "rgba(0,0,0,0)", color: css("rest"), activecolor: css("accent")},
    newselection: {line: {color: css("accent")}},
  });
  const axis = () => ({gridcolor: css("grid"), linecolor: css("rest"), zerolinecolor: css("grid"), automargin: true, tickfont: {size: 12}});

  const topologyOf = (topology) => {
    const {size: [width, height], levels, nodes, edges} = topology;
    const y = (value) => height - value;
    const colours = {"-1": "series-0", 0: "rest", 1: "series-1"};
    const svg = drawn("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Drawing of the topology", style: `max-width:${width * 96 * 1.15}px`});
    for (const [level, at] of levels) {
      svg.append(drawn("line", {x1: 0.32, x2: width, y1: y(at), y2: y(at), stroke: "var(--grid)", "stroke-width": 0.014}));
      svg.append(drawn("text", {x: 0.02, y: y(at) + 0.045, "font-size": 0.13, fill: "var(--muted)"}, `P${level}`));
    }
    for (const [x0, y0, cx, cy, x1, y1, way] of edges) {
      const back = Math.hypot(x1 - cx, y1 - cy) || 1;
      const [ux, uy] = [(x1 - cx) / back, (y1 - cy) / back];
      const [tx, ty] = [x1 - 0.14 * ux, y1 - 0.14 * uy];
      const colour = `var(--${colours[way]})`;
      svg.append(drawn("path", {d: `M${x0} ${y(y0)}Q${cx} ${y(cy)} ${tx - 0.05 * ux} ${y(ty - 0.05 * uy)}`, fill: "none", stroke: colour, "stroke-width": 0.016}));
      const head = [[tx, ty], [tx - 0.08 * ux - 0.032 * uy, ty - 0.08 * uy + 0.032 * ux], [tx - 0.08 * ux + 0.032 * uy, ty - 0.08 * uy - 0.032 * ux]];
      svg.append(drawn("polygon", {points: head.map(([a, b]) => `${a},${y(b)}`).join(" "), fill: colour}));
    }
    for (const [id, x, at, input, output] of nodes) {
      if (output) svg.append(drawn("circle", {cx: x, cy: y(at), r: 0.148, fill: "var(--paper)", stroke: "var(--ink)", "stroke-width": 0.014}));
      svg.append(drawn("circle", {cx: x, cy: y(at), r: 0.115, fill: input ? "var(--paper)" : "var(--ink)", stroke: "var(--ink)", "stroke-width": 0.014}));
      svg.append(drawn("text", {x, y: y(at) + 0.036, "font-size": 0.1, "text-anchor": "middle", fill: input ? "var(--ink)" : "var(--paper)"}, String(id)));
    }
    return svg;
  };

  const pictureOf = (picture, place, boxes, classes) => {
    const {href, width, height, truth} = picture;
    const svg = drawn("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `image ${place + 1}: ${boxes.length} detections`});
    svg.append(drawn("image", {href, width, height}));
    const line = 0.011 * Math.max(width, height);
    const named = (category) => classes[category] ?? "unknown class";
    for (const [x, y, w, h, category] of truth) {
      const title = drawn("title", {}, `${named(category)} (ground truth)`);
      svg.append(drawn("rect", {x, y, width: w, height: h, fill: "none", stroke: "#fff", "stroke-width": line * 0.8, "stroke-dasharray": `${2.5 * line} ${2 * line}`, "pointer-events": "all"}, title));
    }
    for (const [, x, y, w, h, category, score] of [...boxes].sort((a, b) => b[3] * b[4] - a[3] * a[4])) {
      const title = drawn("title", {}, `${named(category)} ${score.toFixed(2)}`);
      svg.append(drawn("rect", {x, y, width: w, height: h, fill: "none", stroke: `var(--box-${((category % 8) + 8) % 8})`, "stroke-width": line, "pointer-events": "all"}, title));
    }
    return element("figure", {class: "panel"}, svg);
  };

  const curvesOf = (curves, colour) => {
    const panels = [["loss", "training loss", "y"], ["ap", "AP", "y2"]].filter(([name]) => curves.some((curve) => curve[name]?.filter((value) => value !== null).length > 1));
    const lines = panels.flatMap(([name, , y], panel) => curves.map((curve) => {
      const points = curve.epoch.map((epoch, at) => [epoch, curve[name]?.[at] ?? null]).filter(([, value]) => value !== null);
      return {x: points.map(([epoch]) => epoch), y: points.map(([, value]) => value), xaxis: panel ? "x2" : "x", yaxis: panel ? "y2" : "y", mode: points.length < 13 ? "lines+markers" : "lines", marker: {size: 4},
        line: {color: css(colour), width: 1.6}, hovertemplate: `seed ${curve.seed}, epoch %{x}: %{y:.4g}<extra></extra>`, showlegend: false};
    }));
    const wide = panels.length === 2;
    const titles = panels.map(([, title], panel) => ({text: title, xref: "paper", yref: "paper", x: panel ? 0.56 : 0, y: 1, xanchor: "left", yanchor: "bottom", yshift: 4, showarrow: false, font: {size: 12}}));
    return {lines, layout: {
      ...face(), height: 220, margin: {l: 34, r: 8, t: 26, b: 34}, dragmode: false, hovermode: "closest", annotations: titles,
      xaxis: {...axis(), domain: wide ? [0, 0.44] : [0, 1], nticks: 5, title: {text: "epoch", standoff: 4, font: {size: 12}}}, yaxis: {...axis(), nticks: 5},
      ...(wide && {xaxis2: {...axis(), domain: [0.56, 1], anchor: "y2", nticks: 5, title: {text: "epoch", standoff: 4, font: {size: 12}}}, yaxis2: {...axis(), anchor: "x2", nticks: 5}}),
    }};
  };

  return {css, element, face, axis, topologyOf, pictureOf, curvesOf};
})();
