"""Trains, templates, labels -> canonical features. Enters: ``Sorting``, ``SourceTable``. Leaves: ``UnitTable``."""
