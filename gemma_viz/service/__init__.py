"""What a hosted instance needs besides the walk: settings, limits and a log. Nothing here knows of Streamlit."""
