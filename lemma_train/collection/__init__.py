"""From questions to error-corrective trajectories: one file a stage; `pipeline` has their order."""
