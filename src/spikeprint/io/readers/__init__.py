"""One module per layout in which units arrive. Enters: files. Leaves: ``Sorting``; nothing is cleaned here."""
