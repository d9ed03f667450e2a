"""The batch engine `ray`: runs the records of a batch on the machines of a Ray cluster."""
