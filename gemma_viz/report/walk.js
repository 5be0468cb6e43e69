// Draws every chart from the JSON beside it, in the colours of the page: light or dark on a screen, light on paper.
"use strict";

const PAPER_WIDTH = 660; // pixels; fits on A4 and on Letter
const darkScreen = matchMedia("screen and (prefers-color-scheme: dark)");
const colours = JSON.parse(document.getElementById("colours").textContent);
const waiting = [...document.querySelectorAll(".plot")];
const drawn = [];

function paint(dark) {
  const ink = dark ? "#e6e9ef" : "#1f2430";
  return template({
    ink,
    faint: ink,
    grid: dark ? "rgba(230,233,239,.16)" : "rgba(31,36,48,.12)",
    ground: dark ? "#262b36" : "#ffffff",
    font: "system-ui, sans-serif",
    size: 13,
    colours,
  });
}

function draw(plot) {
  const figure = JSON.parse(plot.nextElementSibling.textContent);
  figure.layout.template = paint(darkScreen.matches);
  figure.config = {
    responsive: true,
    displaylogo: false,
    showSendToCloud: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d"],
  };
  Plotly.newPlot(plot, figure);
  drawn.push(plot);
}

function drawNext() {
  if (waiting.length) {
    draw(waiting.shift());
    setTimeout(drawNext); // so that the page can be read and scrolled meanwhile
  }
}

function restyle(changes) {
  for (const plot of drawn) Plotly.relayout(plot, changes);
}

darkScreen.addEventListener("change", () => restyle({ template: paint(darkScreen.matches) }));

addEventListener("beforeprint", () => {
  while (waiting.length) draw(waiting.shift());
  restyle({ template: paint(false), width: PAPER_WIDTH });
});

addEventListener("afterprint", () => restyle({ template: paint(darkScreen.matches), width: null, autosize: true }));

drawNext();
