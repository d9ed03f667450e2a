"""What `nexus new` writes: a package that passes its tests as it stands."""
