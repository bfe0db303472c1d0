"use strict";
(() => {
  const data = document.getElementById("data");
  const hosts = JSON.parse(data.textContent), worst = Number(data.dataset.worst);
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue("--" + name).trim();
  const config = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
  const byId = (id) => document.getElementById(id);

  const layout = (height, more) => Object.assign({
    height, margin: { l: 84, r: 20, t: 30, b: 44 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("ink"), size: 12 },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    xaxis: { title: { text: "emulated seconds" }, gridcolor: colour("line"), zeroline: false },
    yaxis: pages(),
    showlegend: true,
    hoverlabel: { bgcolor: colour("raised"), font: { color: colour("ink") } },
  }, more);

  // The headings say what is drawn: a title of the axis would lie over long numbers, or the charts not line up.
  const pages = (more) => Object.assign({ gridcolor: colour("line"), rangemode: "tozero", tickformat: ",d" }, more);

  const curve = (name, points, colourName, dash) => ({
    type: "scatter", mode: "lines", name, x: points.t, y: points.v,
    line: { shape: "hv", width: 1.8, color: colour(colourName), dash },
    hovertemplate: "%{y:,} pages at %{x:.3f} s<extra>" + name + "</extra>",
  });

  // A band is drawn as a shape, which has no legend: an empty trace stands for it there.
  const BANDS = { claim: ["check", "a claim is held"], clamp: ["stale", "max_pages is lowered"] };
  const bands = (found) => Object.entries(found).flatMap(([kind, list]) => list.map(([x0, x1]) => ({
    type: "rect", xref: "x", yref: "paper", x0, x1, y0: kind === "claim" ? 0.5 : 0, y1: kind === "claim" ? 1 : 0.5,
    fillcolor: colour(BANDS[kind][0]), opacity: 0.16, line: { width: 0 }, layer: "below",
  })));
  const keys = (found) => Object.entries(found).filter(([, list]) => list.length).map(([kind]) => ({
    type: "scatter", mode: "markers", x: [null], y: [null], name: BANDS[kind][1],
    marker: { symbol: "square", size: 12, color: colour(BANDS[kind][0]), opacity: 0.35 },
  }));

  const draw = (id, title, traces, options) => {
    byId(id).hidden = byId(`${id}-title`).hidden = !traces.length;
    byId(`${id}-title`).textContent = title;
    if (traces.length) Plotly.react(id, traces, options, config);
  };

  const whole = (host) => ({ title: { text: "emulated seconds" }, gridcolor: colour("line"), zeroline: false,
    range: host.end ? [0, host.end] : undefined });

  // Boot and clean-up, with nearly all memory free, would flatten what lies between them.
  const drawHost = (host) => draw("chart-host", "Free memory and outstanding claims, pages", !host.free ? [] : [
    curve("free", host.free, "good"), curve("outstanding claims", host.claims, "check", "dash"), ...keys(host.bands),
  ], layout(320, { xaxis: whole(host), shapes: host.free ? bands(host.bands) : [],
    yaxis: pages({ range: [0, 1.05 * host.highest] }) }));

  const drawDomain = (host, domain) => draw("chart-domain", domain ? `${domain.label}, pages` : "", !domain ? [] : [
    curve("tot_pages", domain.tot, "good"), curve("max_pages", domain.max, "overtaking", "dot"),
    curve("outstanding_pages", domain.outstanding, "check", "dash"), ...keys(domain.bands),
  ], layout(300, { xaxis: whole(host), shapes: domain ? bands(domain.bands) : [] }));

  const fateColour = (row) => row.verdict === "built" ? "good" : row.verdict === "refused" ? "stale"
    : row.verdict === "failed late" ? "overtaking" : "faint";
  const drawLaunches = (host) => {
    const groups = new Map();
    for (const row of host.launches) {
      if (!groups.has(row.fate)) groups.set(row.fate, []);
      groups.get(row.fate).push(row);
    }
    const words = (row) => `launch ${row.name}: ${row.fate}<br>${row.pages.toLocaleString("en")} pages`
      + (row.discarded ? `, ${row.discarded.toLocaleString("en")} thrown away` : "")
      + (row.judgement ? `<br>the judge: ${row.judgement}` : "");
    const traces = [...groups].map(([fate, rows]) => ({
      type: "scatter", mode: "lines+markers", name: fate, hovertemplate: "%{text}<br>%{x:.3f} s<extra></extra>",
      x: rows.flatMap((row) => [row.ordered, row.settled ?? row.decided ?? row.ordered, null]),
      y: rows.flatMap((row) => [row.name, row.name, null]),
      text: rows.flatMap((row) => [words(row), words(row), ""]),
      line: { width: 7, color: colour(fateColour(rows[0])) },
      marker: { size: 11, color: colour(fateColour(rows[0])),
        symbol: { built: "circle", refused: "x", "failed late": "diamond" }[rows[0].verdict] || "square" },
    }));
    const height = Math.min(190 + 22 * host.launches.length, 640);
    // Categories: a launch that was tried again elsewhere has a number a million higher.
    const yaxis = { gridcolor: colour("line"), autorange: "reversed", type: "category",
      categoryorder: "array", categoryarray: host.launches.map((row) => row.name),
      dtick: host.launches.length > 25 ? undefined : 1, zeroline: false };
    draw("chart-launches", "Launches: from the order to the end of the build", traces,
      layout(height, { yaxis, xaxis: whole(host) }));
  };

  const CAUSES = { claim: "check", clamp: "stale", freeze: "grant", mediator: "refused", "own maximum": "faint",
    "empty heap": "ink", fragmentation: "line" };
  const drawGuests = (host) => {
    const all = host.guests.filter((one) => one.hurt);
    const hurt = [...all].sort((one, other) => other.pain - one.pain).slice(0, worst);
    const which = all.length > hurt.length ? `: the ${hurt.length} of ${all.length.toLocaleString("en")} that suffered most` : "";
    const x = hurt.map((one) => one.label);
    const causes = [...new Set(hurt.flatMap((one) => Object.keys(one.causes)))];
    const bar = (name, values, shade) => ({ type: "bar", name, x, y: values, marker: { color: colour(shade || "faint") },
      hovertemplate: "%{x}: %{y:,} pages<extra>" + name + "</extra>" });
    const traces = causes.map((cause) => bar(`refused: ${cause}`, hurt.map((one) => one.causes[cause] || 0), CAUSES[cause]));
    if (hurt.some((one) => one.swapped)) traces.push(bar("swapped", hurt.map((one) => one.swapped), "overtaking"));
    draw("chart-guests", `Swap and refusals by guest, pages${which}`, hurt.length ? traces : [],
      layout(300, { barmode: "group", bargap: Math.max(0.2, 1 - 0.07 * hurt.length),
        xaxis: { type: "category", automargin: true } }));
  };

  const host = byId("host"), domain = byId("domain");
  const showHost = () => {
    const chosen = hosts[host.value];
    domain.replaceChildren(...(chosen.domains || []).map((one, index) => new Option(one.label, index)));
    byId("domain-label").hidden = !domain.options.length;
    drawHost(chosen); drawLaunches(chosen); drawGuests(chosen);
    drawDomain(chosen, (chosen.domains || [])[0]);
  };
  host.addEventListener("change", showHost);
  domain.addEventListener("change", () => drawDomain(hosts[host.value], hosts[host.value].domains[domain.value]));
  showHost();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showHost);

  const figures = [...document.querySelectorAll("figure.witness")];
  const filters = [...document.querySelectorAll("[data-filter]")];
  const filter = () => {
    for (const figure of figures) {
      figure.hidden = !filters.every((one) => !one.value
        || figure.dataset[one.dataset.filter].split("|").includes(one.value));
    }
    if (figures.length) {
      byId("shown").textContent = `${figures.filter((one) => !one.hidden).length} of ${figures.length} shown`;
    }
  };
  filters.forEach((one) => one.addEventListener("change", filter));
  filter();

  for (const figure of figures) {
    const said = figure.querySelector(".hovered");
    const light = (event) => {
      const one = event.target.closest("[data-op]");
      if (!one) return;
      for (const other of figure.querySelectorAll("[data-op]")) {
        const same = other.dataset.op === one.dataset.op;
        other.classList.toggle("lit", same);
        if (same && other.dataset.text) said.textContent = other.dataset.text;
      }
    };
    figure.addEventListener("mouseover", light);
    figure.addEventListener("focusin", light);
  }
})();
