"""Files of hybrid ground truth. Enters: raw traces of any layout, plans. Leaves: blocks of samples, plans, exports."""
