// How every figure looks in a page that has colours of its own, as a template of plotly's.
//
// ink, faint: of text, and of what names the axes; grid: of lines; ground: of what lies over the figure
function template({ ink, faint, grid, ground, font, size, colours }) {
  const nothing = "rgba(0,0,0,0)";
  const axis = {
    automargin: true,
    gridcolor: grid,
    zerolinecolor: grid,
    linecolor: grid,
    tickfont: { color: faint },
    title: { standoff: 8, font: { color: faint, size: size + 1 } },
  };
  const colorbar = { outlinewidth: 0, tickfont: { color: faint }, title: { font: { color: faint } } };
  const marks = [{ marker: { colorbar } }];
  return {
    data: { heatmap: [{ colorbar }], contour: [{ colorbar }], scatter: marks, scattergl: marks, bar: marks },
    layout: {
      paper_bgcolor: nothing,
      plot_bgcolor: nothing,
      font: { color: ink, family: font, size },
      colorway: colours,
      xaxis: axis,
      yaxis: { ...axis, ticks: "outside", ticklen: 5, tickcolor: nothing }, // names keep off the bars
      hoverlabel: { bgcolor: ground, bordercolor: grid, font: { color: ink } },
      modebar: { bgcolor: nothing, color: faint, activecolor: ink },
      updatemenudefaults: { bgcolor: nothing, bordercolor: grid },
      sliderdefaults: { bgcolor: grid, bordercolor: grid, tickcolor: grid },
    },
  };
}
