"""The one place where the parts are put together: `system`, its jobs (`background`), the order (`assemble`)."""
