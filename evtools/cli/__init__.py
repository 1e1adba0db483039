"""The command line; click is used only here, and heavy imports come late."""
