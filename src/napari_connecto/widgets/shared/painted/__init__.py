"""Small drawings of the docks, painted with Qt: bars, intervals, gauges, the progress of a job, the chosen image."""
