"""The console and the API: what a person sees of the gateway in a browser, and a machine by HTTP."""
