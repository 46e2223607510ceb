"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  /* Data inside the page: JSON, or its gzip in base64. */
  const inflated = (id) => {
    const packed = atob(document.getElementById(id).textContent.trim());
    // A loop: Uint8Array.from with a function takes ten times as long.
    const bytes = new Uint8Array(packed.length);
    for (let i = 0; i < packed.length; i += 1) bytes[i] = packed.charCodeAt(i);
    return new Response(
      new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
  };
  const unpacked = async (id) => {
    const { type, textContent } = document.getElementById(id);
    return type === "application/json" ? JSON.parse(textContent) : inflated(id).json();
  };

  /* Figures: drawn when first seen, redrawn when the colour scheme changes. */
  const toDark = JSON.parse(document.getElementById("dark-colors").textContent);
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

  const figures = new Map();
  const loaded = async (plot) => {
    const id = plot.dataset.figure;
    if (!figures.has(id)) figures.set(id, await unpacked(id));
  };

  const currentFigure = (plot) => {
    const dark = scheme.matches && !printing;
    const figure = recolored(figures.get(plot.dataset.figure), dark ? toDark : {});
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
    const figure = recolored(figures.get(plot.dataset.figure), {});
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

  const paint = (plot) => {
    const { data: traces, layout } = currentFigure(plot);
    // A finger that scrolls the page must not zoom a figure.
    if (matchMedia("(pointer: coarse)").matches) layout.dragmode = false;
    drawn.add(plot);
    Plotly.react(plot, traces, layout, config);
  };
  const draw = async (plot) => {
    await loaded(plot);
    if (plot.offsetParent) paint(plot);
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
  // A printer does not wait for what is unpacked later.
  addEventListener("load", () => plots.filter((plot) => plot.offsetParent).forEach(loaded));
  addEventListener("beforeprint", () => {
    printing = true;
    plots.filter((plot) => plot.offsetParent && figures.has(plot.dataset.figure)).forEach(paint);
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
  const onSort = (table, sort) => table.tHead.addEventListener("click", (event) => {
    const header = event.target.closest("th");
    if (!header || !event.target.closest("button")) return;
    const up = header.getAttribute("aria-sort") !== "ascending";
    for (const th of all("th[aria-sort]", table.tHead)) th.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
    sort(header.cellIndex, header.dataset.kind === "number", up ? 1 : -1);
  });
  const comparison = (numeric, direction) => ([a], [b]) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    return direction * (numeric ? a - b : byText(a, b));
  };
  for (const table of all("table[data-sortable]")) {
    onSort(table, (index, numeric, direction) => {
      const body = table.tBodies[0];
      const keyed = [...body.rows].map((row) => [row.cells[index].dataset.value, row]);
      keyed.sort(comparison(numeric, direction));
      body.append(...keyed.map(([, row]) => row));
    });
  }

  /* The case table: all cases as columns, of which a page of rows at a time is in the document. */
  const at = ({ values, index }, row) => values[index ? index[row] : row];
  /* Place of each row in the order of a column; -1 where it has no value. */
  const ranked = (column) => {
    if (column.ranks) return column.ranks;
    const distinct = [...new Set(column.values)].filter((text) => text !== "–").sort(byText);
    const places = new Map(distinct.map((text, place) => [text, place]));
    const ranks = column.values.map((text) => places.get(text) ?? -1);
    return column.index ? column.index.map((place) => ranks[place]) : ranks;
  };

  const caseTable = (table, { ids, bad, axes, columns, page }) => {
    const search = document.getElementById("case-search");
    const selects = all("select[data-axis]");
    const count = document.getElementById("case-count");
    const [back, next] = ["case-back", "case-next"].map((id) => document.getElementById(id));
    const failed = new Set(bad);
    const numeric = all("th", table.tHead).map((th) => th.dataset.kind === "number");
    let order = ids.map((_, row) => row);
    let matching = order;
    let first = 0;
    let texts = null;

    const text = (row) => {
      texts ??= ids.map((_, i) => columns.map((column) =>
        `${at(column, i)} ${column.notes ? at(column.notes, i) : ""}`).join(" ").toLowerCase());
      return texts[row];
    };
    const element = (name, content, className) => {
      const made = document.createElement(name);
      made.append(content);
      if (className) made.className = className;
      return made;
    };
    const rowOf = (row) => {
      const made = document.createElement("tr");
      made.id = `case-${row + 1}`;
      made.title = ids[row];
      if (failed.has(row)) made.className = "bad";
      columns.forEach((column, place) => {
        const kinds = [numeric[place] && "n", place === columns.length - 1 && "status"];
        const cell = element("td", at(column, row), kinds.filter(Boolean).join(" "));
        const note = column.notes && at(column.notes, row);
        if (note) cell.append(element("span", note, "ci"));
        made.append(cell);
      });
      return made;
    };
    const show = (from) => {
      first = from;
      const last = Math.min(first + page, matching.length);
      table.tBodies[0].replaceChildren(...matching.slice(first, last).map(rowOf));
      const [start, ...numbers] = [Math.min(first + 1, last), last, matching.length, ids.length]
        .map((number) => number.toLocaleString("en"));
      count.textContent =
        `${start} to ${numbers[0]} of ${numbers[1]} matching, ${numbers[2]} cases in all`;
      back.hidden = next.hidden = matching.length <= page;
      back.disabled = first === 0;
      next.disabled = last === matching.length;
    };
    const filter = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const chosen = selects.filter((s) => s.value).map((s) => [axes[s.dataset.axis], s.value]);
      matching = order.filter((row) => chosen.every(([axis, value]) => at(axis, row) === value)
        && words.every((word) => text(row).includes(word)));
      show(0);
    };
    const turn = (pages) => {
      show(first + pages * page);
      table.parentElement.scrollTop = 0;
    };
    const reveal = () => {
      const row = Number(/^#case-(\d+)$/.exec(location.hash)?.[1]) - 1;
      const place = matching.indexOf(row);
      if (place < 0) return;
      show(place - place % page);
      document.getElementById(`case-${row + 1}`).scrollIntoView({ block: "center" });
    };

    onSort(table, (index, _, direction) => {
      const ranks = ranked(columns[index]);
      order.sort((a, b) => ranks[a] < 0 || ranks[b] < 0
        ? (ranks[a] < 0) - (ranks[b] < 0) : direction * (ranks[a] - ranks[b]));
      filter();
    });
    let waiting;
    search.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(filter, 120);
    });
    for (const select of selects) select.addEventListener("change", filter);
    back.addEventListener("click", () => turn(-1));
    next.addEventListener("click", () => turn(1));
    addEventListener("hashchange", reveal);
    show(0);
    reveal();
  };
  const cases = document.getElementById("case-table");
  // After the figures in view: its first page stands in the document already.
  if (cases) addEventListener("load", () => setTimeout(async () => {
    caseTable(cases, await unpacked("case-data"));
  }));

  /* Downloads: the embedded gzip, unpacked to the exact bytes. */
  const save = async (button) => {
    const content = await inflated(button.dataset.download).arrayBuffer();
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
