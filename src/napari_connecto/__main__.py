"""``python -m napari_connecto`` is the command line."""

from napari_connecto.cli import main

if __name__ == "__main__":
    main()
