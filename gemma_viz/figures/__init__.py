"""Figures: pure functions from stage values to plotly figures. One module for each page, under the same name.

A figure knows nothing of models: tokens arrive as labels. It brings its own title, axis labels with units, and one
sentence that says what it shows, for people who cannot see it (`figure.layout.meta["alt"]`).
"""
