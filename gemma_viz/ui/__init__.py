"""What pages share: the view in the address, the sidebar, the token strip, panels.

The only part that knows Streamlit.
"""
