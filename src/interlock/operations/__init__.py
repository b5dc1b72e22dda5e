"""What can be asked of Interlock, free of transport: authorise, validate, apply, audit; one package per resource."""
