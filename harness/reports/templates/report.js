"use strict";
for (const source of document.querySelectorAll("script[data-chart]")) {
  const figure = JSON.parse(source.textContent);
  Plotly.newPlot(source.dataset.chart, figure.data, figure.layout, {
    responsive: true,
    displayModeBar: false,
  });
}

// A chart that was drawn inside of a closed element knows no width.
for (const details of document.querySelectorAll("details")) {
  details.addEventListener("toggle", () => {
    for (const chart of details.querySelectorAll(".chart")) Plotly.Plots.resize(chart);
  });
}

function sortKey(cell) {
  if ("value" in cell.dataset) {
    const number = parseFloat(cell.dataset.value);
    return Number.isNaN(number) ? null : number;
  }
  return cell.textContent.trim();
}

for (const heading of document.querySelectorAll(".sortable th")) {
  heading.addEventListener("click", () => {
    const table = heading.closest("table");
    const column = heading.cellIndex;
    const down = heading.dataset.order === "up";
    for (const other of table.querySelectorAll("th")) delete other.dataset.order;
    heading.dataset.order = down ? "down" : "up";
    const rows = [...table.tBodies[0].rows].map((row) => [sortKey(row.cells[column]), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      const order = typeof a === "number" ? a - b : String(a).localeCompare(String(b));
      return down ? -order : order;
    });
    table.tBodies[0].append(...rows.map(([, row]) => row));
  });
}
document.body.dataset.ready = "true";
