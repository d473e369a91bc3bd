"""Result folders as self-contained HTML pages: the only home of matplotlib and jinja2."""
