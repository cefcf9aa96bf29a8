"""The service: imagery by REST, jobs that survive crashes, damage maps as files and map tiles."""
