// Draws every chart from the JSON beside it, in the colours of the page: light or dark on a screen, light on paper.
"use strict";

const PAPER_WIDTH = 660; // pixels; fits on A4 and on Letter
const darkScreen = matchMedia("screen and (prefers-color-scheme: dark)");
const colours = JSON.parse(document.getElementById("colours").textContent);
const waiting = [...document.querySelectorAll(".plot")];
const drawn = [];

function template(dark) {
  const ink = dark ? "#e6e9ef" : "#1f2430";
  const grid = dark ? "rgba(230,233,239,.16)" : "rgba(31,36,48,.12)";
  const axis = { gridcolor: grid, zerolinecolor: grid, linecolor: grid, tickcolor: grid, title: { standoff: 8 } };
  const label = { bgcolor: dark ? "#262b36" : "#ffffff", bordercolor: grid, font: { color: ink } };
  return {
    layout: {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, family: "system-ui, sans-serif", size: 13 },
      colorway: colours,
      xaxis: axis,
      yaxis: { ...axis, ticks: "outside", ticklen: 5, tickcolor: "rgba(0,0,0,0)" }, // names keep off the bars
      hoverlabel: label,
      modebar: { bgcolor: "rgba(0,0,0,0)", color: grid, activecolor: ink },
      updatemenudefaults: { bgcolor: "rgba(0,0,0,0)", bordercolor: grid },
      sliderdefaults: { bgcolor: grid, bordercolor: grid, tickcolor: grid },
    },
  };
}

function draw(plot) {
  const figure = JSON.parse(plot.nextElementSibling.textContent);
  figure.layout.template = template(darkScreen.matches);
  figure.config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
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

darkScreen.addEventListener("change", () => restyle({ template: template(darkScreen.matches) }));

addEventListener("beforeprint", () => {
  while (waiting.length) draw(waiting.shift());
  restyle({ template: template(false), width: PAPER_WIDTH });
});

addEventListener("afterprint", () => restyle({ template: template(darkScreen.matches), width: null, autosize: true }));

drawNext();
