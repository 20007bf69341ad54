"""Run folders: created, trained, resumed, measured, exported."""
