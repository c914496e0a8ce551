"""What you send: workflows, node catalogs, conversion, checks. Pure: no I/O beyond files, no await."""
