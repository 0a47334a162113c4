"""From snippets to positions. Enters: spikes and contacts. Leaves: where they come from, how the tissue moved."""
