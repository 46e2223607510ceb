"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const data = (id) => JSON.parse(document.getElementById(id).textContent);

  /* Figures: drawn when first seen, redrawn when the colour scheme changes. */
  const toDark = data("dark-colors");
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const hidden = new Set();
  const drawn = new Set();
  let printing = false;

  const recolored = (value, colors) => {
    if (typeof value === "string") return colors[value] ?? value;
    if (Array.isArray(value)) return value.map((item) => recolored(item, colors));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, recolored(item, colors)]));
  };

  const isHidden = (trace) =>
    trace.meta?.labels?.length > 0 && trace.meta.labels.every((label) => hidden.has(label));

  const currentFigure = (plot) => {
    const dark = scheme.matches && !printing;
    const figure = recolored(data(plot.dataset.figure), dark ? toDark : {});
    for (const trace of figure.data) trace.visible = !isHidden(trace);
    if (printing) figure.layout.width = 660;
    // Names beside the points of a narrow figure would cover each other.
    if (plot.clientWidth < 640) {
      for (const trace of figure.data) if (trace.meta?.labels) trace.mode = trace.mode.replace("+text", "");
    }
    return figure;
  };

  /* An image for a paper: the light scheme, with the legend that the page shows apart. */
  const saveImage = (plot) => {
    const figure = data(plot.dataset.figure);
    for (const trace of figure.data) trace.visible = !isHidden(trace);
    const title = plot.closest("figure").querySelector("h3")?.textContent.trim();
    Object.assign(figure.layout, {
      showlegend: true, title: { text: "", font: { size: 14 } }, paper_bgcolor: "#FFFFFF",
      plot_bgcolor: "#FFFFFF", margin: { l: 60, r: 20, t: 24, b: 50 },
    });
    const filename = (title || plot.dataset.figure).toLowerCase().replace(/[^a-z0-9]+/g, "-");
    Plotly.downloadImage(figure, { format: "svg", width: 760, height: 460, filename });
  };

  const config = {
    displaylogo: false, plotlyServerURL: "", responsive: true, showTips: false,
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", {
      name: "save", title: "Save as SVG", icon: Plotly.Icons.camera, click: saveImage,
    }]],
  };

  const draw = (plot) => {
    const { data: traces, layout } = currentFigure(plot);
    // A finger that scrolls the page must not zoom a figure.
    if (matchMedia("(pointer: coarse)").matches) layout.dragmode = false;
    drawn.add(plot);
    Plotly.react(plot, traces, layout, config);
  };
  const redraw = () => drawn.forEach((plot) => { if (plot.offsetParent) draw(plot); });

  const plots = all(".plot");
  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting && target.offsetParent) draw(target);
    }
  }, { rootMargin: "800px" });
  plots.forEach((plot) => watcher.observe(plot));
  scheme.addEventListener("change", redraw);
  addEventListener("beforeprint", () => {
    printing = true;
    plots.filter((plot) => plot.offsetParent).forEach(draw);
  });
  addEventListener("afterprint", () => { printing = false; redraw(); });

  /* Legends: a label is shown or hidden in every figure at once. */
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".legend button");
    if (!button) return;
    const { label } = button.dataset;
    if (!hidden.delete(label)) hidden.add(label);
    for (const other of all(".legend button")) {
      if (other.dataset.label === label) other.setAttribute("aria-pressed", !hidden.has(label));
    }
    redraw();
  });

  /* One of several panels at a time: tabs, or a select. */
  const show = (panels, chosen) => {
    for (const panel of panels) panel.hidden = panel.id !== chosen;
    // What was drawn while the scheme or a legend differed is brought up to date.
    all(".plot", document.getElementById(chosen)).forEach(draw);
  };
  for (const list of all("[role=tablist]")) {
    const tabs = all("[role=tab]", list);
    const panels = tabs.map((tab) => document.getElementById(tab.getAttribute("aria-controls")));
    const select = (chosen) => {
      for (const tab of tabs) {
        tab.setAttribute("aria-selected", tab === chosen);
        tab.tabIndex = tab === chosen ? 0 : -1;
      }
      show(panels, chosen.getAttribute("aria-controls"));
    };
    list.addEventListener("click", (event) => {
      const tab = event.target.closest("[role=tab]");
      if (tab) select(tab);
    });
    list.addEventListener("keydown", (event) => {
      const at = tabs.indexOf(document.activeElement);
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const tab = tabs.at(to % tabs.length);
      tab.focus();
      select(tab);
    });
  }
  for (const chooser of all("select[data-chooser]")) {
    const panels = [...chooser.options].map((option) => document.getElementById(option.value));
    chooser.addEventListener("change", () => show(panels, chooser.value));
  }

  /* Tables: sorted by exact values, empty ones always last. */
  const byText = new Intl.Collator("en", { numeric: true }).compare;
  const comparison = (numeric, direction) => ([a], [b]) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    return direction * (numeric ? a - b : byText(a, b));
  };
  for (const table of all("table[data-sortable]")) {
    table.tHead.addEventListener("click", (event) => {
      const header = event.target.closest("th");
      if (!header || !event.target.closest("button")) return;
      const up = header.getAttribute("aria-sort") !== "ascending";
      for (const th of all("th[aria-sort]", table.tHead)) th.setAttribute("aria-sort", "none");
      header.setAttribute("aria-sort", up ? "ascending" : "descending");
      const body = table.tBodies[0];
      const keyed = [...body.rows].map((row) => [row.cells[header.cellIndex].dataset.value, row]);
      keyed.sort(comparison(header.dataset.kind === "number", up ? 1 : -1));
      body.append(...keyed.map(([, row]) => row));
      table.dispatchEvent(new Event("reordered"));
    });
  }

  /* The case table: filtered by text and axes, a screenful of rows at first. */
  const cases = document.getElementById("case-table");
  if (cases) {
    const pageSize = 200;
    const search = document.getElementById("case-search");
    const selects = all("select[data-axis]");
    const count = document.getElementById("case-count");
    const more = document.getElementById("case-more");
    let limit = pageSize;
    const texts = new Map(
      [...cases.tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]));
    const update = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const chosen = selects.filter((s) => s.value).map((s) => [s.dataset.axis, s.value]);
      let matching = 0;
      for (const row of cases.tBodies[0].rows) {
        const axes = JSON.parse(row.dataset.axes);
        const matches = chosen.every(([axis, value]) => axes[axis] === value)
          && words.every((word) => texts.get(row).includes(word));
        matching += matches;
        row.hidden = !matches || matching > limit;
      }
      const shown = Math.min(matching, limit);
      count.textContent = `${shown} of ${matching} matching, ${texts.size} cases in all`;
      more.hidden = matching <= limit;
    };
    let waiting;
    search.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(update, 120);
    });
    for (const select of selects) select.addEventListener("change", update);
    more.addEventListener("click", () => { limit = Infinity; update(); });
    cases.addEventListener("reordered", update);
    update();
  }

  /* Downloads: the embedded gzip, unpacked to the exact bytes. */
  const save = async (button) => {
    const packed = atob(document.getElementById(button.dataset.download).textContent.trim());
    const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const content = await new Response(stream).arrayBuffer();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type: button.dataset.type }));
    link.download = button.dataset.filename;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  for (const button of all("button[data-download]")) {
    button.addEventListener("click", () => save(button));
  }
})();
