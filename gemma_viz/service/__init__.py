"""What a server of the app needs beside the app: settings, limits, a log, the operator's endpoint and its metrics.

Knows neither Streamlit nor the pages, and nothing below `ui` knows it but the engine, which counts its work here.
"""
