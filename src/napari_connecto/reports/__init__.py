"""Result folders as pages that one can read, print and send: the only home of matplotlib and jinja2."""
